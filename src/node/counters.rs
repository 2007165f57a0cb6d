//! The counters of a node.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::node::refusal::Refusal;

/// Counts up from zero; read by [`Peer::status`](crate::Peer::status).
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    pub(crate) fn one(&self) {
        self.add(1);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($( $(#[doc = $doc:literal])* $name:ident, )*) => {
        /// The node's counters, one atomic each.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $( pub(crate) $name: Counter, )*
        }

        /// The counters of a node since its start. Serialisable.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Counts {
            $( $(#[doc = $doc])* pub $name: u64, )*
        }

        #[cfg(feature = "metrics")]
        impl Counts {
            /// Each counter with the name and the description of its metric.
            pub(crate) fn entries(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                let entries = [$( (
                    concat!("actix_peer_", stringify!($name), "_total"),
                    concat!($( $doc ),*),
                    self.$name,
                ), )*];
                entries.into_iter()
            }
        }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $( $name: self.$name.get(), )* }
            }
        }
    };
}

counters! {
    /// Frames received, including replies to own requests.
    frames_in,
    /// Frames sent, including own requests.
    frames_out,
    /// Bytes received, including headers.
    bytes_in,
    /// Bytes sent, including headers.
    bytes_out,
    /// Connections accepted.
    connections_accepted,
    /// Connections refused at the limit of the node or of their source.
    connections_refused,
    /// Connections closed at the rate limit of their source.
    connections_too_fast,
    /// Connections closed because their source or their proven id is banned.
    connections_banned,
    /// Bans imposed.
    bans,
    /// Classic requests refused at the rate limit of their source.
    requests_too_fast,
    /// Pauses in reading at the rate limit of their source.
    reads_paused,
    /// Connections closed before their header was complete, to make room for others.
    connections_displaced,
    /// Connections that ended before the first byte.
    connections_silent,
    /// Connections opened by this node.
    connections_dialled,
    /// Requests received with a complete header.
    exchanges_in,
    /// Requests sent.
    exchanges_out,
    /// Links opened, by either side.
    links_opened,
    /// Links that ended because the other node violated the protocol.
    links_broken,
    /// One-way messages of this node that other nodes reported as refused.
    notify_refused,
    /// Acknowledged messages that were sent again, over another link.
    reliable_resent,
    /// Acknowledged messages that arrived again and were not delivered again.
    reliable_repeated,
    /// Refused: no handler for the code.
    unknown_codes,
    /// Refused: the length in the header was over the limit.
    errors_too_long,
    /// Refused: busy.
    errors_busy,
    /// Refused: the handler panicked, or its answer cannot be sent.
    errors_handler_failed,
    /// Refused: the actor of the handler has stopped.
    errors_handler_gone,
    /// Refused: the handler did not answer in time.
    errors_handler_late,
    /// Refused: the data could not be decoded as the type of the handler.
    errors_bad_message,
    /// Refused: the sender claimed an id that is not its own.
    errors_not_your_id,
    /// Refused: no TLS, which this node requires.
    errors_no_tls,
    /// Connections that failed the TLS handshake, or were not admitted.
    errors_handshake,
    /// Connections closed because the other node was no longer admitted.
    errors_not_admitted,
    /// Requests aborted because the node stopped.
    errors_aborted_by_stop,
    /// Connections that ended inside a header.
    errors_truncated_header,
    /// Connections that ended inside the data of a frame.
    errors_truncated_body,
    /// Connections whose header or data did not arrive in time.
    errors_late,
    /// Connections that stalled for too long while data was written.
    errors_stalled,
    /// Connections that broke: a reset, or an error of the operating system.
    errors_io,
    /// Errors of the operating system when accepting a connection.
    errors_accept,
    /// Outgoing connections that could not be opened.
    errors_dial,
    /// `JOIN` messages that added no peer: wrong address, not allowed, or no room.
    joins_refused,
    /// `QUIT` messages for another node, which removed no peer.
    quits_refused,
    /// Peers that joined and were removed because they never answered with their id.
    peers_not_verified,
    /// Unverified peers that were replaced by one from an address with fewer of them.
    peers_displaced,
    /// Introductions (`JOIN`) to peers that this node lists, without those of `join`.
    introductions,
    /// Times that a listed peer did not list this node when it was asked.
    unknown_there,
    /// Times that one id was found at two addresses.
    ids_at_two_addresses,
    /// Dials that were skipped because the address was dialled too often without an answer.
    dials_held_back,
    /// Routed messages that this node forwarded.
    forwarded,
    /// Routed messages that this node did not forward because of its options.
    forwards_refused,
    /// One-way routed messages that this node could not forward.
    forwards_lost,
    /// Messages and updates about members that were rejected.
    membership_refused,
    /// Messages to members that were dropped: no link in time, or too many were waiting.
    membership_dropped,
    /// Messages to neighbours that were dropped: no link in time, or too many were waiting.
    gossip_dropped,
    /// Broadcasts that were published here.
    broadcasts_out,
    /// Broadcasts of other nodes that were handed to a handler.
    broadcasts_in,
    /// Broadcasts of other nodes that no handler received: there is none, it has stopped, or it had
    /// no room.
    broadcasts_unhandled,
    /// Broadcasts that were not passed on, because their author has not signed them.
    broadcasts_forged,
    /// Messages that were published to topics here.
    topics_out,
    /// Messages of topics that were handed to actors.
    topics_in,
    /// Messages of topics that an actor did not get: it was too slow, or they could not be decoded.
    topics_missed,
    /// Questions to the network for the nodes of a topic.
    topics_asked,
    /// Events that were dropped because the mailbox of a subscriber was full.
    events_dropped,
    /// Times that a thread of the node was blocked for seconds.
    standstills,
}

impl Counters {
    /// Counts a refusal under its kind.
    pub(crate) fn refused(&self, refusal: Refusal, messages: u64) {
        match refusal {
            Refusal::UnknownCode => &self.unknown_codes,
            Refusal::TooLong => &self.errors_too_long,
            Refusal::Busy => &self.errors_busy,
            Refusal::HandlerFailed => &self.errors_handler_failed,
            Refusal::HandlerGone => &self.errors_handler_gone,
            Refusal::HandlerLate => &self.errors_handler_late,
            Refusal::BadMessage => &self.errors_bad_message,
            Refusal::Stopping => &self.errors_aborted_by_stop,
            Refusal::NotYourId => &self.errors_not_your_id,
            Refusal::NoTls => &self.errors_no_tls,
        }
        .add(messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_counted_once_under_a_counter_of_its_own() {
        let counters = Counters::default();
        for refusal in Refusal::ALL {
            counters.refused(refusal, 1);
        }
        let counts = counters.read();
        let ones = [
            counts.unknown_codes,
            counts.errors_too_long,
            counts.errors_busy,
            counts.errors_handler_failed,
            counts.errors_handler_gone,
            counts.errors_handler_late,
            counts.errors_bad_message,
            counts.errors_aborted_by_stop,
            counts.errors_not_your_id,
            counts.errors_no_tls,
        ];
        assert_eq!(ones, [1; 10]);
    }
}
