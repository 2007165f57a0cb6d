//! Searches of others, and answers to own ones.

use std::{net::IpAddr, sync::Arc, task::Poll};

use actix_peer::{
    Incoming, Over, PeerInfo, Reply,
    connection::{Identity, Via},
    frame::{Frame, TypeCode},
    overlay::{Address, Host},
};
use futures::{StreamExt, future::join_all, stream};
use tokio::{net::lookup_host, sync::mpsc, time::timeout};

use crate::{
    limits::may_name,
    model::Speaks,
    name::FileName,
    protocol::{
        BUSY, FQRY, Match, QUERY_ACK, QUERY_INCORRECT, Query, RESP_INCORRECT, RESP_NOT_ASKED,
        reachable, repl, text_of,
    },
    search::MAX_ANSWERS,
    state::{State, now},
    talk::{NoAnswer, QUESTION_TIME},
};

/// Peers that a query of another node is passed on to.
const FAN_OUT: usize = 8;

/// Queries that are worked on at once.
const AT_ONCE: usize = 8;

/// A query that was acknowledged, and who sent it.
#[derive(Debug)]
pub(crate) struct QueryWork {
    query: Query,
    sender: IpAddr,
    /// As it says, over a link.
    sender_id: Option<String>,
}

/// The address that a request came from. A name cannot be one; it would have no rights.
fn sender_ip(msg: &Incoming) -> IpAddr {
    match msg.sender().address().host() {
        Host::Ip(ip) => ip.to_canonical(),
        Host::Name(_) => IpAddr::from([0; 16]),
    }
}

/// `QUER` and `FQRY`: acknowledged at once; worked on when the exchange is over.
pub(super) fn query(state: &State, msg: &Incoming) -> Reply {
    let sender = sender_ip(msg);
    if !state.limits().query_from(sender, now()) {
        return Reply::error(BUSY);
    }
    let numbered = msg.code().to_ascii_uppercase() == FQRY;
    let Some(query) = text_of(&msg.frame).and_then(|text| Query::parse(text, numbered)) else {
        return Reply::error(QUERY_INCORRECT);
    };
    // A place first: a query that is seen and then not worked on would be lost.
    let Ok(place) = state.queries.clone().try_reserve_owned() else { return Reply::error(BUSY) };
    if !state.seen().is_new(&query, now()) {
        return repl(QUERY_ACK);
    }
    let sender_id = match (msg.sender().via(), msg.sender().identity()) {
        (Via::Link, Identity::Claimed(id) | Identity::Proven(id)) => Some(id.to_string()),
        _ => None,
    };
    let mut later = Later(Some((place, QueryWork { query, sender, sender_id })));
    // Dropped when another frame is asked for after this one, which then was taken, or when nobody
    // takes it because the sender did not wait.
    Reply::stream(stream::once(async { Frame::text(TypeCode::REPL, QUERY_ACK) }).chain(
        stream::poll_fn(move |_| {
            drop(std::mem::replace(&mut later, Later(None)));
            Poll::Ready(None)
        }),
    ))
}

/// Hands a query to those who work on it when the exchange is over, however it ends.
struct Later(Option<(mpsc::OwnedPermit<QueryWork>, QueryWork)>);

impl Drop for Later {
    fn drop(&mut self) {
        if let Some((place, work)) = self.0.take() {
            place.send(work);
        }
    }
}

/// Works on queries until the program stops.
pub(crate) async fn work_on_queries(state: Arc<State>, mut work: mpsc::Receiver<QueryWork>) {
    let queries = stream::poll_fn(move |cx| work.poll_recv(cx));
    let all = queries.for_each_concurrent(AT_ONCE, |work| work_on(Arc::clone(&state), work));
    state.stopping.run_until_cancelled(all).await;
}

async fn work_on(state: Arc<State>, QueryWork { query, sender, sender_id }: QueryWork) {
    let (matches, all) = state.share.matching(&query.key, MAX_ANSWERS);
    if all > matches.len() {
        let (to, key, count) = (&query.answer_to, &query.key, matches.len());
        state.info(format!("{to} hears of {count} of the {all} files with \"{key}\" here"));
    }
    if !matches.is_empty() {
        answer(&state, &query, matches, sender).await;
    } else if let Some(ttl) = query.ttl.checked_sub(1) {
        let next = Query { ttl, ..query };
        let mut to: Vec<PeerInfo> = state.contacts().table().to_vec();
        to.retain(|peer| {
            *peer.address() != next.answer_to && Some(peer.id().as_str()) != sender_id.as_deref()
        });
        fastrand::shuffle(&mut to);
        to.truncate(FAN_OUT);
        // A peer that does not hear it is one less; the sweep finds out why.
        join_all(to.iter().map(|peer| send_query(&state, peer.address(), &next))).await;
    }
}

/// Sends a query, with its number to nodes of this program.
pub(crate) async fn send_query(state: &State, to: &Address, query: &Query) -> Result<(), NoAnswer> {
    if query.number.is_some() && state.contacts().how(to) != Speaks::Classic {
        match state.ask(to, query.to_frame(), Over::Link).await {
            Err(NoAnswer::Classic) => {}
            other => return other.map(drop),
        }
    }
    state.ask(to, query.to_classic(), Over::Any).await.map(drop)
}

/// Tells the node that searches about matches, one `RESP` for each.
async fn answer(state: &State, query: &Query, matches: Vec<FileName>, sender: IpAddr) {
    let Ok(me) = state.me() else { return };
    let owner = me.address().to_string();
    let Some(mut way) = Way::to(state, &query.answer_to, sender).await else { return };
    let count = matches.len();
    for name in matches {
        let frame = Match { name, owner: owner.clone() }.to_frame();
        let Some((to, over)) = way.next(state) else { return };
        match state.ask(&to, frame.clone(), over).await {
            Ok(_) => {}
            Err(NoAnswer::Classic) => {
                way.is_classic();
                let Some((to, over)) = way.next(state) else { return };
                if state.ask(&to, frame, over).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    state.info(format!("told {} about {count} files with \"{}\"", query.answer_to, query.key));
}

/// How a node is reached that somebody named.
struct Way {
    to: Address,
    /// Set for a node that is not a known peer: what each connection to it counts against.
    stranger: Option<(IpAddr, u16)>,
    over: Over,
    connected: bool,
}

impl Way {
    /// None when `sender` may not make this node connect there.
    async fn to(state: &State, to: &Address, sender: IpAddr) -> Option<Self> {
        if state.contacts().is_known(to) {
            return Some(Self { to: to.clone(), stranger: None, over: Over::Any, connected: true });
        }
        let ip = match to.host() {
            Host::Ip(ip) => *ip,
            // Looked up once, so that what was checked is what is connected to. A look-up costs
            // somebody something as well.
            Host::Name(name) => {
                let unknown = (IpAddr::from([0; 16]), to.port());
                if !state.limits().dial_stranger(unknown, now()) {
                    return None;
                }
                let found = timeout(QUESTION_TIME, lookup_host((&**name, to.port()))).await;
                found.ok()?.ok()?.map(|found| found.ip()).find(|ip| may_name(sender, *ip))?
            }
        };
        may_name(sender, ip).then(|| Self {
            to: Address::new(ip.into(), to.port()),
            stranger: Some((ip.to_canonical(), to.port())),
            over: Over::Link,
            connected: false,
        })
    }

    fn is_classic(&mut self) {
        (self.over, self.connected) = (Over::Classic, false);
    }

    /// Where to send the next message, when another connection is allowed, or none is needed.
    fn next(&mut self, state: &State) -> Option<(Address, Over)> {
        if let Some(stranger) = self.stranger
            && !self.connected
            && !state.limits().dial_stranger(stranger, now())
        {
            return None;
        }
        self.connected = self.over != Over::Classic;
        Some((self.to.clone(), self.over))
    }
}

/// `RESP`: believed when it answers an own search, or when its sender has the file.
pub(super) fn response(state: &State, msg: &Incoming) -> Reply {
    let Some(found) = text_of(&msg.frame).and_then(Match::parse) else {
        return Reply::error(RESP_INCORRECT);
    };
    let known = state.contacts().address_of(&found.owner);
    let sender = sender_ip(msg);
    let may = match (&known, reachable(&found.owner)) {
        (Some(_), _) => true,
        (None, Some(owner)) => match owner.host() {
            Host::Ip(ip) => may_name(sender, *ip),
            // Nobody knows yet where a name leads.
            Host::Name(_) => sender.is_loopback(),
        },
        (None, None) => false,
    };
    let Some(owner) = known.or_else(|| reachable(&found.owner)) else {
        return Reply::error(RESP_INCORRECT);
    };
    let own = state.me().is_ok_and(|me| *me.address() == owner);
    if !may || own {
        return Reply::error(RESP_INCORRECT);
    }
    // The original programs take any answer. A node may say unasked what it has itself, within a
    // limit; what others have, only when it was asked.
    let itself = matches!(owner.host(), Host::Ip(ip) if ip.to_canonical() == sender);
    let asked = state.own().take(&found.name.to_string(), now());
    if !(asked || itself && state.limits().announcement_from(sender, now())) {
        let cut = state.own().leave_out(&found.name.to_string());
        if let Some(key) = cut {
            let most = format!("more than {MAX_ANSWERS} files with \"{key}\" were found");
            state.info(format!("{most}: the others are left out, search for more of the name"));
        }
        return Reply::error(RESP_NOT_ASKED);
    }
    if !state.remote().add_any(&found.name, &owner) {
        return Reply::error(format!("Resp: can't add duplicate file {}", found.name));
    }
    state.ask_owners.notify_one();
    state.files_changed.notify_one();
    repl(format!("Resp: file info added {}", found.name))
}
