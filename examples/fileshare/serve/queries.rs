//! Searches of others, and answers to own ones.

use std::{net::IpAddr, sync::Arc, task::Poll};

use actix_peer::{
    Incoming, Over, PeerInfo, Reply,
    frame::{Frame, TypeCode},
    message::{Identity, Via},
    overlay::{Address, Host, Scope},
};
use futures::{StreamExt, future::join_all, stream};
use tokio::{net::lookup_host, sync::mpsc, time::timeout};

use crate::{
    model::Speaks,
    name::FileName,
    protocol::{
        BUSY, FQRY, Match, QUERY_ACK, QUERY_INCORRECT, Query, RESP_DUPLICATE, RESP_INCORRECT,
        RESP_NOT_ASKED, reachable, repl, text_of,
    },
    search::{MAX_ANSWERS, Novelty},
    state::{State, now},
    talk::{NoAnswer, QUESTION_TIME, accepted, count, shown},
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
    /// Whether it goes on to others when nothing here matches.
    goes_on: bool,
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
    let numbered = msg.code().to_ascii_uppercase() == FQRY;
    let query = text_of(&msg.frame).and_then(|text| Query::parse(text, numbered));
    let revision = state.share.revision();
    let novelty = query.as_ref().map(|query| {
        // Own searches come back by others.
        let is_own = state.me().is_ok_and(|me| *me.address() == query.answer_to);
        if is_own { Novelty::Echo } else { state.seen.lock().look(query, revision, now()) }
    });
    if novelty == Some(Novelty::Echo) {
        return repl(QUERY_ACK);
    }
    if !state.limits.lock().query_from(sender, now()) {
        return Reply::error(BUSY);
    }
    let Some(query) = query else { return Reply::error(QUERY_INCORRECT) };
    // A place first: a query that is seen and then not worked on would be lost.
    let Ok(place) = state.queries.clone().try_reserve_owned() else { return Reply::error(BUSY) };
    let goes_on = novelty == Some(Novelty::New);
    if goes_on {
        state.seen.lock().remember(&query, revision, now());
    } else {
        state.seen.lock().looked_again(&query, revision);
    }
    let sender_id = match (msg.sender().via(), msg.sender().identity()) {
        (Via::Link, Identity::Claimed(id) | Identity::Proven(id)) => Some(id.to_string()),
        _ => None,
    };
    let mut later = Later(Some((place, QueryWork { query, sender, sender_id, goes_on })));
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

async fn work_on(state: Arc<State>, work: QueryWork) {
    let QueryWork { query, sender, sender_id, goes_on } = work;
    let (matches, all) = state.share.index.lock().matching(&query.key, MAX_ANSWERS);
    if all > matches.len() {
        let (to, key, count) = (&query.answer_to, shown(&query.key), matches.len());
        state.info(format!("{to} hears of {count} of the {all} files with \"{key}\" here"));
    }
    if !matches.is_empty() {
        state.seen.lock().answered(&query);
        answer(&state, &query, matches, sender).await;
    } else if goes_on && let Some(ttl) = query.ttl.checked_sub(1) {
        let next = Query { ttl, ..query };
        let mut to: Vec<PeerInfo> = state.contacts.lock().table().to_vec();
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
    if query.number.is_some() && state.contacts.lock().how(to) != Speaks::Classic {
        match state.ask(to, query.to_frame(), Over::Link).await {
            Err(NoAnswer::Classic) => {}
            other => return accepted(&other?),
        }
    }
    accepted(&state.ask(to, query.to_classic(), Over::Any).await?)
}

/// Tells the node that searches about matches, one `RESP` for each. What it did not hear, and why, is
/// said.
async fn answer(state: &State, query: &Query, matches: Vec<FileName>, sender: IpAddr) {
    let Ok(me) = state.me() else { return };
    let owner = me.address().to_string();
    let all = matches.len();
    let mut told = 0;
    let mut refused = None;
    let untold = async {
        let mut way = Way::to(state, &query.answer_to, sender).await?;
        for name in matches {
            match way.tell(state, &Match { name, owner: owner.clone() }).await {
                Ok(()) => told += 1,
                // The next name may be one that it takes.
                Err(untold @ Untold::NoAnswer(NoAnswer::Refused(_))) => refused = Some(untold),
                Err(untold) => return Err(untold),
            }
        }
        Ok(())
    };
    let untold = untold.await.err().or(refused);
    let (to, key) = (&query.answer_to, shown(&query.key));
    if told > 0 {
        state.info(format!("told {to} about {} with \"{key}\"", count(told, "file")));
    }
    if let Some(untold) = untold
        && state.limits.lock().complain(to, now())
    {
        let files = count(all.saturating_sub(told), "file");
        state.error(format!("{to} was not told about {files} with \"{key}\": {untold}"));
    }
}

/// Why a node that searches was not told of a match.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("who asked may not make this node connect there")]
    Scope,
    #[error("this node has connected there often enough for now")]
    Limited,
    #[error("its name leads nowhere")]
    NoAddress,
    #[error("it has not asked for that")]
    NotAsked,
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// How a node is reached that somebody named.
struct Way<'a> {
    /// As it was named.
    named: &'a Address,
    to: Address,
    /// Not a known peer: what goes there is limited.
    is_stranger: bool,
    /// The next message goes over an open link.
    is_linked: bool,
}

impl<'a> Way<'a> {
    /// The way there, when `sender` may make this node connect there.
    async fn to(state: &State, named: &'a Address, sender: IpAddr) -> Result<Self, Untold> {
        if state.contacts.lock().is_known(named) {
            return Ok(Self { named, to: named.clone(), is_stranger: false, is_linked: false });
        }
        let ip = match named.host() {
            Host::Ip(ip) => Some(*ip).filter(|ip| Scope::lets(sender, *ip)),
            // Looked up once, so that what was checked is what is connected to. A look-up costs
            // somebody something as well.
            Host::Name(name) => {
                if !state.limits.lock().dial_stranger(named, now()) {
                    return Err(Untold::Limited);
                }
                let found = timeout(QUESTION_TIME, lookup_host((&**name, named.port()))).await;
                let found = found.ok().and_then(Result::ok).ok_or(Untold::NoAddress)?;
                found.map(|found| found.ip()).find(|ip| Scope::lets(sender, *ip))
            }
        };
        let to = Address::new(ip.ok_or(Untold::Scope)?.into(), named.port()).canonical();
        Ok(Self { named, to, is_stranger: true, is_linked: false })
    }

    /// Sends a message over a link, or in a classic exchange if it must be. One that needs a
    /// connection to a stranger is limited.
    async fn ask(&mut self, state: &State, frame: Frame) -> Result<Vec<Frame>, Untold> {
        loop {
            if self.is_stranger
                && !self.is_linked
                && !state.limits.lock().dial_stranger(&self.to, now())
            {
                return Err(Untold::Limited);
            }
            // Without links there is nothing to try first.
            let is_classic = state.contacts.lock().how(self.named) == Speaks::Classic;
            let over = if is_classic { Over::Classic } else { Over::Link };
            self.is_linked = !is_classic;
            match state.ask(&self.to, frame.clone(), over).await {
                Err(NoAnswer::Classic) if !is_classic => {
                    state.contacts.lock().speaks(self.named, Speaks::Classic);
                    self.is_linked = false;
                }
                answer => return Ok(answer?),
            }
        }
    }

    /// Tells of one match.
    async fn tell(&mut self, state: &State, found: &Match) -> Result<(), Untold> {
        let answer = self.ask(state, found.to_frame()).await?;
        let refused = accepted(&answer);
        let not_asked =
            matches!(&refused, Err(NoAnswer::Refused(words)) if words == RESP_NOT_ASKED);
        for address in [&self.to, self.named] {
            if not_asked {
                state.limits.lock().has_not_asked(address);
            } else if self.is_stranger {
                state.limits.lock().has_answered(address, now());
            }
        }
        match refused {
            Err(_) if not_asked => Err(Untold::NotAsked),
            Err(NoAnswer::Refused(words)) if words.starts_with(RESP_DUPLICATE) => Ok(()),
            // The Python original says nothing at all, and reads no name with white space.
            Ok(()) if answer.is_empty() && found.name.as_str().contains(char::is_whitespace) => {
                Err(NoAnswer::Refused("it reads no names with spaces".to_owned()).into())
            }
            other => Ok(other?),
        }
    }
}

/// `RESP`: believed when it answers an own search, or when its sender has the file.
pub(super) fn response(state: &State, msg: &Incoming) -> Reply {
    let Some(found) = text_of(&msg.frame).and_then(Match::parse) else {
        return Reply::error(RESP_INCORRECT);
    };
    let known = state.contacts.lock().address_of(&found.owner);
    let sender = sender_ip(msg);
    let may = match (&known, reachable(&found.owner)) {
        (Some(_), _) => true,
        (None, Some(owner)) => match owner.host() {
            Host::Ip(ip) => Scope::lets(sender, *ip),
            // Nobody knows yet where a name leads.
            Host::Name(_) => sender.is_loopback(),
        },
        (None, None) => false,
    };
    let Some(owner) = known.or_else(|| reachable(&found.owner)) else {
        return Reply::error(RESP_INCORRECT);
    };
    let owner = state.contacts.lock().known_as(&owner);
    let own = state.me().is_ok_and(|me| *me.address() == owner);
    if !may || own {
        return Reply::error(RESP_INCORRECT);
    }
    // The original programs take any answer. A node may say unasked what it has itself, within a
    // limit; what others have, only when it was asked.
    let itself = matches!(owner.host(), Host::Ip(ip) if ip.to_canonical() == sender);
    let name = found.name.to_string();
    let asked = state.own.lock().take(&name, &owner, now());
    state.searches_changed.notify_one();
    if !(asked || itself && state.limits.lock().announcement_from(sender, now())) {
        let full = state.own.lock().leave_out(&name);
        if let Some(key) = full {
            let most = format!("more than {MAX_ANSWERS} files with \"{key}\" were found");
            state.info(format!("{most}: the others are left out, search for more of the name"));
        }
        return Reply::error(RESP_NOT_ASKED);
    }
    if !state.remote.lock().add_any(&found.name, &owner) {
        return Reply::error(format!("{RESP_DUPLICATE} file {}", found.name));
    }
    state.ask_owners.notify_one();
    state.files_changed.notify_one();
    repl(format!("Resp: file info added {}", found.name))
}
