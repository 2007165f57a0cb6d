//! The background tasks of the program.

use std::{collections::HashSet, sync::Arc, time::Duration};

use actix_peer::{
    Over, PeerEvent, PeerInfo,
    frame::{Frame, TypeCode},
    node::Removed,
    peer::JoinError,
};
use futures::{StreamExt, future::join_all, stream};
use tokio::{
    net::lookup_host,
    sync::mpsc,
    task::spawn_blocking,
    time::{sleep, timeout, timeout_at},
};

use crate::{
    app::{App, AppError, TRIED_AGAIN},
    model::{Event, LeftOut, Speaks},
    named::named,
    serve::{QueryWork, handle_queries},
    state::{State, now},
    talk::{QUESTION_TIME, shown},
    transfer::ask_owner,
};

/// How often the shared folders are read again.
const SCAN_EVERY: Duration = Duration::from_secs(15);

/// How often the peers are asked for their lists.
const LISTS_EVERY: Duration = Duration::from_secs(5);

/// The maximum number of open requests of one kind.
const AT_ONCE: usize = 8;

/// The pause between two events with all files, and the addition for each thousand files.
const FILES_PAUSE: Duration = Duration::from_millis(250);

const PEERS_PAUSE: Duration = Duration::from_millis(200);

/// The pause between two events with searches: answers arrive in bursts.
const SEARCHES_PAUSE: Duration = Duration::from_millis(100);

/// How often round trips and the status are updated.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// How often owners are asked about files whose digest is unknown.
const OWNERS_EVERY: Duration = Duration::from_secs(5);

/// The first pause between two attempts to join; it doubles each time.
const FIRST_JOIN_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to join.
const MAX_JOIN_PAUSE: Duration = Duration::from_secs(30);

/// Starts all background tasks.
pub(super) fn start(app: &App, queries: mpsc::Receiver<QueryWork>) {
    let runtime = app.0.runtime.clone();
    let state = &app.0.state;
    // The tasks end when the program stops.
    let run = |work: futures::future::BoxFuture<'static, ()>| {
        let stopping = state.stopping.clone();
        runtime.spawn(async move { stopping.run_until_cancelled(work).await });
    };
    run(Box::pin(handle_queries(Arc::clone(state), queries)));
    run(Box::pin(watch_files(Arc::clone(state))));
    run(Box::pin(watch_owners(Arc::clone(state))));
    run(Box::pin(watch_lists(Arc::clone(state))));
    run(Box::pin(watch_peers(Arc::clone(state))));
    run(Box::pin(emit_files(app.clone())));
    run(Box::pin(emit_peers(app.clone())));
    run(Box::pin(emit_searches(Arc::clone(state))));
    run(Box::pin(emit_status(app.clone())));
    run(Box::pin(join(app.clone())));
}

/// Reads the folders, and starts to compute digests.
pub(super) async fn scan(state: &Arc<State>) -> std::io::Result<()> {
    let share = Arc::clone(&state.share);
    let scanned = spawn_blocking(move || share.scan()).await;
    state.share.digest_in_background(&tokio::runtime::Handle::current());
    scanned.unwrap_or(Ok(()))
}

async fn watch_files(state: Arc<State>) {
    let share = Arc::clone(&state.share);
    // Best effort: leftover files do no harm.
    spawn_blocking(move || share.sweep()).await.ok();
    let mut reported = false;
    loop {
        let failed = scan(&state).await.err();
        if let (Some(error), false) = (&failed, reported) {
            state.error(format!("cannot read the shared folder: {error}"));
        }
        reported = failed.is_some();
        sleep(SCAN_EVERY).await;
    }
}

/// Asks owners for the size and the digest of their files.
async fn watch_owners(state: Arc<State>) {
    loop {
        timeout(OWNERS_EVERY, state.ask_owners.notified()).await.ok();
        if state.remote.lock().forget_lost(now()) {
            state.files_changed.notify_one();
        }
        let mut undigested = state.remote.lock().undigested();
        undigested.retain(|(_, owner)| state.contacts.lock().how(owner) != Speaks::Classic);
        let mut dialled = HashSet::new();
        // Other nodes name owners, so dials of owners that are not known peers are limited.
        undigested.retain(|(_, owner)| {
            state.contacts.lock().is_known(owner)
                || dialled.contains(owner)
                || (state.limits.lock().dial_stranger(owner, now())
                    && dialled.insert(owner.clone()))
        });
        let state = &state;
        stream::iter(undigested)
            .for_each_concurrent(AT_ONCE, async |(name, owner)| {
                if ask_owner(state, &name, &owner).await {
                    state.files_changed.notify_one();
                }
            })
            .await;
    }
}

/// Asks the peers for their lists, and measures the round trips of classic peers.
pub(super) async fn ask_lists(state: &State) {
    let peers = state.contacts.lock().table().to_vec();
    stream::iter(peers)
        .for_each_concurrent(AT_ONCE, async |peer| {
            let began = now();
            let Ok(frames) =
                state.ask(peer.address(), Frame::empty(TypeCode::LIST), Over::Any).await
            else {
                return;
            };
            let took = now().saturating_duration_since(began);
            let entries = frames.iter().skip(1);
            let entries = entries.filter_map(|frame| frame.as_str().ok()?.parse::<PeerInfo>().ok());
            let entries: Vec<_> = entries.collect();
            let unresolved = state.contacts.lock().unresolved(&entries);
            join_all(unresolved.into_iter().map(async |(name, port)| {
                let found = timeout(QUESTION_TIME, lookup_host((&*name, port))).await;
                let found = found.ok().and_then(Result::ok).into_iter().flatten();
                let ips = found.map(|found| found.ip()).collect();
                state.contacts.lock().resolved(name, ips);
            }))
            .await;
            let mut contacts = state.contacts.lock();
            contacts.set_list(peer.id(), entries);
            if contacts.how(peer.address()) == Speaks::Classic {
                contacts.add_round_trip(peer.address(), took);
            }
        })
        .await;
    state.peers_changed.notify_one();
}

async fn watch_lists(state: Arc<State>) {
    loop {
        ask_lists(&state).await;
        sleep(LISTS_EVERY).await;
    }
}

/// Follows the events of the node.
async fn watch_peers(state: Arc<State>) {
    let Ok(peer) = state.peer() else { return };
    let mut events = peer.events();
    let peers = peer.peers().clone();
    // This task must not keep the node running.
    drop(peer);
    loop {
        if let Ok(list) = peers.list().await {
            let gone = state.contacts.lock().set_table(&list);
            // A peer that left is handled below; others may be asleep.
            gone.iter().for_each(|gone| state.remote.lock().lose(gone.address(), now()));
        }
        state.peers_changed.notify_one();
        match events.next().await {
            Some(PeerEvent::PeerAdded { peer }) => {
                state.info(format!("peer added: {}", named(&peer)));
                state.remote.lock().found(peer.address());
                let state = Arc::clone(&state);
                // Finds out whether the peer supports links.
                #[expect(clippy::disallowed_methods, reason = "an application may spawn")]
                tokio::spawn(async move {
                    state.ask(peer.address(), Frame::empty(TypeCode::PING), Over::Link).await.ok();
                });
            }
            Some(PeerEvent::PeerRemoved { peer, why }) => {
                if !matches!(why, Removed::Lost) {
                    // Another node may listen there later.
                    state.contacts.lock().speaks(peer.address(), Speaks::Unknown);
                    if state.remote.lock().forget_owner(peer.address()) {
                        state.files_changed.notify_one();
                    }
                }
                let why = match why {
                    Removed::Left => "it left",
                    Removed::Lost => "it does not answer",
                    Removed::Unverified => "no node with its id answers there",
                    Removed::Replaced => "another node is at its address",
                    Removed::Displaced => "too many peers joined from its address",
                    Removed::Moved => "its id is at another address",
                    _ => "removed here",
                };
                state.info(format!("peer removed: {} ({why})", named(&peer)));
            }
            Some(PeerEvent::UnknownThere { peer, refused: Some(words) }) => {
                state.error(format!("{} does not list this node: {}", peer.id(), shown(&words)));
            }
            Some(PeerEvent::TwoAddresses { id, listed, other, .. }) => {
                state.error(format!("one id at two addresses: {id} at {listed} and {other}"));
            }
            Some(PeerEvent::LinkOpened { peer, .. }) => {
                state.contacts.lock().met(peer.address(), peer.id());
                state.contacts.lock().speaks(peer.address(), Speaks::Links);
            }
            Some(_) => {}
            None => return,
        }
    }
}

async fn emit_files(app: App) {
    let state = Arc::clone(&app.0.state);
    let mut share = state.share.changes();
    loop {
        tokio::select! {
            () = state.files_changed.notified() => {}
            _ = share.changed() => {}
        }
        let news = state.share.index.lock().left_out_news().unwrap_or_default();
        for LeftOut { why, count, example } in news {
            state.info(format!("not shared: {count}, such as \"{example}\": {why}"));
        }
        let mut pause = FILES_PAUSE;
        if state.events.receiver_count() > 0 {
            let files = app.files();
            pause += FILES_PAUSE * u32::try_from(files.len() / 1_000).unwrap_or(0);
            state.emit(Event::Files(files));
        }
        sleep(pause).await;
    }
}

async fn emit_peers(app: App) {
    let state = Arc::clone(&app.0.state);
    let mut last = None;
    loop {
        timeout(STATUS_EVERY, state.peers_changed.notified()).await.ok();
        let network = app.network().await;
        if last.as_ref() != Some(&network) {
            state.emit(Event::Peers(network.clone()));
            last = Some(network);
        }
        sleep(PEERS_PAUSE).await;
    }
}

/// Emits own searches when they change or end.
async fn emit_searches(state: Arc<State>) {
    loop {
        let (news, next) = {
            let contacts = state.contacts.lock();
            state.own.lock().news(now(), |address| contacts.name_of(address))
        };
        news.into_iter().for_each(|search| state.emit(Event::Search(search)));
        let changed = state.searches_changed.notified();
        match next {
            Some(next) => timeout_at(next.into(), changed).await.unwrap_or_default(),
            None => changed.await,
        }
        sleep(SEARCHES_PAUSE).await;
    }
}

async fn emit_status(app: App) {
    loop {
        if app.0.state.events.receiver_count() > 0 {
            app.0.state.emit(Event::Status(app.status().await));
        }
        sleep(STATUS_EVERY).await;
    }
}

/// Joins through the contacts of the options, and tries again until each is a peer or cannot become
/// one. Reports the first error of each contact.
async fn join(app: App) {
    let (mut pause, mut reported) = (FIRST_JOIN_PAUSE, HashSet::new());
    let mut contacts = app.0.contacts.clone();
    while !contacts.is_empty() {
        let mut left = Vec::new();
        for contact in contacts {
            let Err(error) = app.join(&contact.to_string()).await else { continue };
            let again = !matches!(
                error,
                AppError::Stopping
                    | AppError::Join(JoinError::ContactIsSelf(_) | JoinError::Down(_))
            );
            if reported.insert(contact.clone()) {
                let why = match &error {
                    AppError::Join(error) => error.cause().map(ToString::to_string),
                    _ => None,
                };
                let why = why.unwrap_or_else(|| error.to_string());
                let tail = if again { TRIED_AGAIN } else { "" };
                app.0.state.error(format!("cannot join {contact}: {why}{tail}"));
            }
            if again {
                left.push(contact);
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_JOIN_PAUSE);
        // A contact may have become a peer in another way.
        left.retain(|contact| !app.0.state.contacts.lock().is_known(contact));
        contacts = left;
    }
}
