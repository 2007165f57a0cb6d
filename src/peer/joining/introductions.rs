//! Introducing this node again to the peers that it lists. A peer that was restarted, or was
//! unreachable for long, does not know which nodes list it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{
    frame::{Frame, TypeCode},
    message::{Outgoing, Over},
    node::{PeerEvent, Refusal},
    overlay::{AskFailure, Introduced, Listing, ListingReport, PeerId, PeerInfo, WITHIN, is_gap},
    peer::{
        NodeDown, Peers,
        asking::{hosts::OwnAddresses, question},
        verification::two_addresses,
    },
    session,
    session::Endpoint,
    time::{Later, now, part},
};

/// Asks over the open link, if there is one, and in a classic exchange if that gives no answer.
/// Each gets half of the time.
pub(crate) async fn ask(
    node: &Arc<Endpoint>,
    peer: &PeerInfo,
    frame: Frame,
    within: Duration,
) -> Result<Vec<Frame>, AskFailure> {
    let until = Instant::now().later(within);
    let to = (peer.address(), Some(peer.id()));
    let message = Outgoing::from(frame.clone()).over(Over::Link);
    if let Some(replies) = session::try_request(node, to, &message) {
        let replies = replies.collect_up_to(node.config.control_reply());
        if let Ok(Ok(replies)) = timeout(part(within, 2), replies).await {
            return Ok(replies);
        }
    }
    // A late wake-up means that this node was blocked, and that nothing was read in time.
    if is_gap(until.into_std(), now()) {
        return Err(AskFailure::StoodStill);
    }
    question(node, to, frame, until.duration_since(Instant::now())).await
}

/// Emits an event if the state of a peer that this node lists has changed.
fn tell(node: &Endpoint, peer: &PeerInfo, told: Option<ListingReport>) {
    let peer = peer.clone();
    match told {
        None => {}
        Some(ListingReport::Unknown(refused)) => {
            node.counters.unknown_there.one();
            tracing::debug!(%peer, refused = refused.as_deref(), "the peer does not list this node");
            node.emit(&PeerEvent::UnknownThere { peer, refused });
        }
        Some(ListingReport::Elsewhere(at)) => {
            two_addresses(node, node.me.id(), &at, node.me.address(), Some(peer))
        }
    }
}

/// Handles a peer's answer whether it lists this node.
pub(crate) async fn said(
    node: &Endpoint,
    peers: &Peers,
    peer: &PeerInfo,
    listing: Listing,
) -> Result<(), NodeDown> {
    let of = peer.clone();
    let told = peers
        .with(move |table, _| table.introductions.record_listing(&of, &listing, now()))
        .await?;
    tell(node, peer, told);
    Ok(())
}

/// Handles a sign of life of a peer: introduces this node to it when that is due. A node that does
/// not serve `NAME` cannot be a peer, and introduces itself to no node.
pub(crate) async fn when_due(
    node: &Arc<Endpoint>,
    peers: &Peers,
    id: &PeerId,
) -> Result<(), NodeDown> {
    if node.routes.find(TypeCode::NAME).is_none() {
        return Ok(());
    }
    let id = id.clone();
    let due = peers.with(move |table, _| {
        table.introductions.prune(&table.list);
        let entry = table.list.get(&id).filter(|entry| entry.verified().is_some())?;
        let peer = entry.info().clone();
        table.introductions.begin(&peer, now()).then_some(peer)
    });
    let Some(peer) = due.await? else { return Ok(()) };
    let (of, node, peers) = (Arc::clone(node), Arc::clone(node), peers.clone());
    // One introduction at a time for each peer in the table, within the limit of concurrent dials.
    let run = async move {
        let understood = introduce(&node, &peers, &peer).await;
        let ended = peers.with(move |table, _| table.introductions.ended(&peer, understood));
        ended.await.ok();
    };
    of.spawn(of.until_drain(run));
    Ok(())
}

/// Introduces this node. Returns whether the peer may understand another introduction.
async fn introduce(node: &Arc<Endpoint>, peers: &Peers, peer: &PeerInfo) -> bool {
    node.counters.introductions.one();
    let introduction = Frame::text(TypeCode::JOIN, node.me.to_string());
    let Ok(replies) = ask(node, peer, introduction, WITHIN).await else { return true };
    let understood = replies
        .first()
        .is_some_and(|reply| reply.as_str().is_ok_and(|text| text != Refusal::UnknownCode.text()));
    let answer = match Introduced::of(&replies) {
        // The answer may be different the next time.
        Introduced::Refused(words)
            if [Refusal::Busy, Refusal::Stopping].iter().any(|not_now| words == not_now.text()) =>
        {
            return true;
        }
        answer => answer,
    };
    let is_known = answer == Introduced::Known;
    let of = peer.clone();
    let answered = peers.with(move |table, _| {
        let told = table.introductions.answered(&of, &answer, now());
        (told, is_known && table.introductions.confirms(&of, now()))
    });
    let Ok((told, to_confirm)) = answered.await else { return true };
    tell(node, peer, told);
    if to_confirm && let Ok(list) = ask(node, peer, Frame::empty(TypeCode::LIST), WITHIN).await {
        let own = OwnAddresses::of(node).await;
        let listing = Listing::in_list(&list, &node.me, |at| own.is_own(node, at));
        said(node, peers, peer, listing).await.ok();
    }
    understood
}
