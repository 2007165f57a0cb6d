//! Handlers of queries of other nodes, and of answers to own ones.

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

/// The maximum number of peers that a query is forwarded to.
const FAN_OUT: usize = 8;

/// The maximum number of queries that are handled at once.
const AT_ONCE: usize = 8;

/// An acknowledged query, and its sender.
#[derive(Debug)]
pub(crate) struct QueryWork {
    query: Query,
    sender: IpAddr,
    /// The id of the sender, if it arrived over a link.
    sender_id: Option<String>,
    /// Whether it is forwarded if no file here matches.
    is_forwarded: bool,
}

/// The source address of a request. It is never a name; a name would have no rights.
fn sender_ip(msg: &Incoming) -> IpAddr {
    match msg.sender().address().host() {
        Host::Ip(ip) => ip.to_canonical(),
        Host::Name(_) => IpAddr::from([0; 16]),
    }
}

/// `QUER` and `FQRY`: acknowledged at once, and handled after the end of the exchange.
pub(super) fn query(state: &State, msg: &Incoming) -> Reply {
    let sender = sender_ip(msg);
    let numbered = msg.code().to_ascii_uppercase() == FQRY;
    let query = text_of(&msg.frame).and_then(|text| Query::parse(text, numbered));
    let revision = state.share.revision();
    let novelty = query.as_ref().map(|query| {
        // Own searches come back from other nodes.
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
    // The permit comes first: a query that is remembered but not handled would be lost.
    let Ok(permit) = state.queries.clone().try_reserve_owned() else { return Reply::error(BUSY) };
    let is_forwarded = novelty == Some(Novelty::New);
    if is_forwarded {
        state.seen.lock().remember(&query, revision, now());
    } else {
        state.seen.lock().handled_again(&query, revision);
    }
    let sender_id = match (msg.sender().via(), msg.sender().identity()) {
        (Via::Link, Identity::Claimed(id) | Identity::Proven(id)) => Some(id.to_string()),
        _ => None,
    };
    let mut later = Later(Some((permit, QueryWork { query, sender, sender_id, is_forwarded })));
    // `later` is dropped when the next frame is polled, after the first was sent, or with the
    // stream if the sender did not wait.
    Reply::stream(stream::once(async { Frame::text(TypeCode::REPL, QUERY_ACK) }).chain(
        stream::poll_fn(move |_| {
            drop(std::mem::replace(&mut later, Later(None)));
            Poll::Ready(None)
        }),
    ))
}

/// Queues a query when the exchange ends, whatever its outcome.
struct Later(Option<(mpsc::OwnedPermit<QueryWork>, QueryWork)>);

impl Drop for Later {
    fn drop(&mut self) {
        if let Some((permit, work)) = self.0.take() {
            permit.send(work);
        }
    }
}

/// Handles queries until the program stops.
pub(crate) async fn handle_queries(state: Arc<State>, mut work: mpsc::Receiver<QueryWork>) {
    let queries = stream::poll_fn(move |cx| work.poll_recv(cx));
    let all = queries.for_each_concurrent(AT_ONCE, |work| handle(Arc::clone(&state), work));
    state.stopping.run_until_cancelled(all).await;
}

async fn handle(state: Arc<State>, work: QueryWork) {
    let QueryWork { query, sender, sender_id, is_forwarded } = work;
    let (matches, all) = state.share.index.lock().matching(&query.key, MAX_ANSWERS);
    if all > matches.len() {
        let (to, key, count) = (&query.answer_to, shown(&query.key), matches.len());
        state.info(format!("{to} is told about {count} of the {all} files with \"{key}\" here"));
    }
    if !matches.is_empty() {
        state.seen.lock().answered(&query);
        answer(&state, &query, matches, sender).await;
    } else if is_forwarded && let Some(ttl) = query.ttl.checked_sub(1) {
        let next = Query { ttl, ..query };
        let mut to: Vec<PeerInfo> = state.contacts.lock().table().to_vec();
        to.retain(|peer| {
            *peer.address() != next.answer_to && Some(peer.id().as_str()) != sender_id.as_deref()
        });
        fastrand::shuffle(&mut to);
        to.truncate(FAN_OUT);
        // Best effort: errors are ignored, and the ping sweep detects dead peers.
        join_all(to.iter().map(|peer| send_query(&state, peer.address(), &next))).await;
    }
}

/// Sends a query; with its number to nodes of this program.
pub(crate) async fn send_query(state: &State, to: &Address, query: &Query) -> Result<(), NoAnswer> {
    if query.number.is_some() && state.contacts.lock().how(to) != Speaks::Classic {
        match state.ask(to, query.to_frame(), Over::Link).await {
            Err(NoAnswer::Classic) => {}
            other => return accepted(&other?),
        }
    }
    accepted(&state.ask(to, query.to_classic(), Over::Any).await?)
}

/// Sends the matches to the node that searches, one `RESP` for each, and reports errors.
async fn answer(state: &State, query: &Query, matches: Vec<FileName>, sender: IpAddr) {
    let Ok(me) = state.me() else { return };
    let owner = me.address().to_string();
    let all = matches.len();
    let mut told = 0;
    let mut refused = None;
    let error = async {
        let mut route = Route::to(state, &query.answer_to, sender).await?;
        for name in matches {
            match route.send(state, &Match { name, owner: owner.clone() }).await {
                Ok(()) => told += 1,
                // The next name may be one that it takes.
                Err(error @ NotTold::NoAnswer(NoAnswer::Refused(_))) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let error = error.await.err().or(refused);
    let (to, key) = (&query.answer_to, shown(&query.key));
    if told > 0 {
        state.info(format!("told {to} about {} with \"{key}\"", count(told, "file")));
    }
    if let Some(error) = error
        && state.limits.lock().complain(to, now())
    {
        let files = count(all.saturating_sub(told), "file");
        state.error(format!("{to} was not told about {files} with \"{key}\": {error}"));
    }
}

/// Why a match was not sent to the node that searches.
#[derive(Debug, thiserror::Error)]
enum NotTold {
    #[error("the sender may not make this node connect to that address")]
    Scope,
    #[error("the limit of connections to that address is reached")]
    Limited,
    #[error("its name has no address")]
    NoAddress,
    #[error("it did not search for that")]
    NotAsked,
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// The route to a node that another node named.
struct Route<'a> {
    /// As it was named.
    named: &'a Address,
    to: Address,
    /// Whether it is not a known peer, so that messages to it are limited.
    is_stranger: bool,
    /// Whether the next message goes over an open link.
    is_linked: bool,
}

impl<'a> Route<'a> {
    /// The route to `named`, if `sender` may make this node connect there.
    async fn to(state: &State, named: &'a Address, sender: IpAddr) -> Result<Self, NotTold> {
        if state.contacts.lock().is_known(named) {
            return Ok(Self { named, to: named.clone(), is_stranger: false, is_linked: false });
        }
        let ip = match named.host() {
            Host::Ip(ip) => Some(*ip).filter(|ip| Scope::lets(sender, *ip)),
            // Looked up once, so that the checked address is the one that is dialled. Look-ups are
            // limited like dials.
            Host::Name(name) => {
                if !state.limits.lock().dial_stranger(named, now()) {
                    return Err(NotTold::Limited);
                }
                let found = timeout(QUESTION_TIME, lookup_host((&**name, named.port()))).await;
                let found = found.ok().and_then(Result::ok).ok_or(NotTold::NoAddress)?;
                found.map(|found| found.ip()).find(|ip| Scope::lets(sender, *ip))
            }
        };
        let to = Address::new(ip.ok_or(NotTold::Scope)?.into(), named.port()).canonical();
        Ok(Self { named, to, is_stranger: true, is_linked: false })
    }

    /// Sends a message over a link if possible. Messages that need a connection to an unknown node
    /// are limited.
    async fn ask(&mut self, state: &State, frame: Frame) -> Result<Vec<Frame>, NotTold> {
        loop {
            if self.is_stranger
                && !self.is_linked
                && !state.limits.lock().dial_stranger(&self.to, now())
            {
                return Err(NotTold::Limited);
            }
            // A classic peer is not asked for a link.
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

    /// Sends one match.
    async fn send(&mut self, state: &State, found: &Match) -> Result<(), NotTold> {
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
            Err(_) if not_asked => Err(NotTold::NotAsked),
            Err(NoAnswer::Refused(words)) if words.starts_with(RESP_DUPLICATE) => Ok(()),
            // The original Python program does not answer, and cannot parse names with white space.
            Ok(()) if answer.is_empty() && found.name.as_str().contains(char::is_whitespace) => {
                Err(NoAnswer::Refused("it does not support names with spaces".to_owned()).into())
            }
            other => Ok(other?),
        }
    }
}

/// `RESP`: accepted if it answers an own search, or if its sender is the owner.
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
            // The addresses of a name are not known yet.
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
    // The original programs accept any answer. Here a node may announce its own files without a
    // search, within a limit, and files of others only as an answer.
    let is_owner = matches!(owner.host(), Host::Ip(ip) if ip.to_canonical() == sender);
    let name = found.name.to_string();
    let asked = state.own.lock().take(&name, &owner, now());
    state.searches_changed.notify_one();
    if !(asked || is_owner && state.limits.lock().announcement_from(sender, now())) {
        let full = state.own.lock().leave_out(&name);
        if let Some(key) = full {
            let limit = format!("more than {MAX_ANSWERS} files with \"{key}\" were found");
            state.info(format!("{limit}: the others are left out; search for more of the name"));
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
