//! Layer 1: points at which a simulation chooses among legal behaviours, and notes of rare ones.
//!
//! A *fault point* is a place where the crate may legally behave in more than one way: a timer may
//! fire at its latest, a queue may be full one step early, a batch may have one message. Left to
//! chance, a test sees only the usual way. A simulation with fault points switched on draws from
//! its seed which way is taken each time. `FoundationDB` introduced the technique under the name
//! *buggify* (Zhou et al., "`FoundationDB`: A Distributed Unbundled Transactional Key Value Store",
//! 2021). A fault point breaks no promise of [`delivery`](crate::delivery).
//!
//! The other half is coverage: [`reached`] counts how often a rare situation has occurred, so that
//! a simulation can report the situations that it has never seen.
//!
//! Both are state of a thread, which a simulation switches on for its duration. Without the feature
//! `test-utils` both are constant functions, and cost nothing.

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident { $( $(#[$of:meta])* $name:ident, )* }) => {
        $(#[$doc])*
        #[cfg_attr(not(feature = "test-utils"), allow(unreachable_pub))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $kind { $( $(#[$of])* $name, )* }

        #[cfg(feature = "test-utils")]
        impl $kind {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }
        }
    };
}

names! {
    /// A place where the crate may legally behave in more than one way. The description is that of
    /// the behaviour that a simulation draws.
    FaultPoint {
        /// The listener waits for a moment before it serves a connection that it has accepted.
        AcceptLate,
        /// A node refuses a new link as busy although it has room. Classic exchanges are not refused:
        /// the sender of a one-way message would not learn it.
        LinkRefused,
        /// The pause after a failed dial is not shortened by its jitter.
        DialPauseLongest,
        /// The pause before a further try to join has the whole jitter.
        JoinPauseLongest,
        /// An idle link is closed for a new one although there is room for both.
        LinkEvicted,
        /// An idle link is closed before its time.
        IdleLinkClosed,
        /// The time-outs on a link are counted one tick late.
        TickLate,
        /// The task of a link yields to the handlers after a short read.
        YieldEarly,
        /// One-way messages that arrived together are processed one by one.
        BatchOfOne,
        /// Credit is granted as soon as some is due, in the smallest amount.
        GrantSmall,
        /// A short message takes no credit in advance for those behind it.
        NotPrepaid,
        /// A link has no room for a message at once: its sender takes the way of those that wait.
        NoRoomAtOnce,
        /// A request finds no permit at once, and takes the way of those that wait.
        NoPermitAtOnce,
        /// The memory for incomplete messages is used up: a long message is refused as busy.
        NoMemoryForMessage,
        /// A reply takes the way of those that wait for room.
        ReplyNotAtOnce,
        /// Refused messages are reported before there are too many kinds of them.
        RefusalsReportedEarly,
        /// An acknowledgement is sent late.
        AckLate,
        /// An acknowledged message waits for its handler no longer than other messages.
        AckedWaitShort,
        /// A receiver has no room to remember a new sender of acknowledged messages.
        NoRoomForSender,
        /// The queue of acknowledged messages is full although another message fits.
        AckedQueueFull,
    }
}

names! {
    /// A rare situation, whose occurrences a simulation counts.
    Sometimes {
        /// A dial is answered by a pause: the last one has failed.
        DialHeldBack,
        /// A peer is dialled again after a failed dial.
        DialRetried,
        /// A dial succeeds after failed ones.
        DialSucceededAfterFailures,
        /// A caller waits for the dial of another one.
        DialShared,
        /// A peer accepts a connection and sends no hello.
        HelloUnanswered,
        /// A peer that is dialled has a link already, and says goodbye at once.
        HelloGoodbye,
        /// A dial confirms the address that the other side of an unlisted link claims.
        ClaimConfirmed,
        /// A peer that is dialled is busy.
        HelloBusy,
        /// Of two links of a pair, the one that this node dialled stays.
        DialledLinkStays,
        /// Of two links of a pair, the one that this node accepted stays.
        AcceptedLinkStays,
        /// A new link replaces an earlier one that the same side opened.
        LinkReplaced,
        /// An idle link is closed for another one.
        LinkEvicted,
        /// An idle link is closed after its time.
        IdleLinkClosed,
        /// There is no room for a link, and none is idle.
        NoRoomForLink,
        /// The connection of a link breaks with open exchanges.
        LinkLostInExchange,
        /// A link ends with a reason, with open exchanges.
        LinkEndedInExchange,
        /// A side announces the end of a link with open exchanges.
        GoodbyeInExchange,
        /// A link that is being closed does not end in time.
        LeavingExpired,
        /// A link is silent for three intervals.
        KeepaliveTimedOut,
        /// The output of a link makes no progress for the stall time-out.
        OutputStalled,
        /// The other side of a link breaks its rules.
        LinkRulesBroken,
        /// A node of another id is found at an address.
        AnotherIdAtAddress,
        /// A message ends in its middle at its receiver.
        IncompleteMessageReceived,
        /// A message ends in its middle at its sender.
        IncompleteMessageSent,
        /// A request is cancelled while it waits for its handler.
        RequestCancelledWaiting,
        /// A request is cancelled while its handler has it.
        RequestCancelledInHandler,
        /// A reply arrives after its exchange has ended.
        LateReplyDiscarded,
        /// Another frame arrives after its exchange has ended.
        LateFrameDiscarded,
        /// A request times out while its caller waits for the reply.
        ReplyLate,
        /// A sender waits for credit.
        CreditExhausted,
        /// A sender waits for a permit to open a request.
        RequestsExhausted,
        /// A sender waits for room in the output.
        OutputFull,
        /// A request waits for a permit of its handler.
        PermitAwaited,
        /// A message waits behind another one for the same handler.
        TurnAwaited,
        /// Refusals of several kinds are reported together.
        RefusalKindsFull,
        /// The other side reports refused one-way messages.
        RefusalReported,
        /// The other side reports refused one-way messages after both sides have announced the end.
        RefusalAfterGoodbye,
        /// The other side of a link that ends has lost messages.
        LostMessagesReported,
        /// The queue of acknowledged messages is full.
        AckedQueueFull,
        /// An acknowledged message is sent again on the next link.
        AckedResent,
        /// A delivered message arrives again, as its acknowledgement was lost: it is discarded.
        AckedDuplicateDiscarded,
        /// A message arrives again while its first arrival waits for its handler.
        AckedDuplicateWaits,
        /// A message arrives again whose handler has failed, or that was refused.
        AckedFailedAgain,
        /// A message of an incarnation arrives after a larger one has followed.
        AckedSuperseded,
        /// A message arrives again whose number is no longer remembered.
        AckedForgotten,
        /// A receiver cannot remember a further sender.
        AckedNoRoom,
        /// A node that is known by its acknowledged messages has a larger incarnation than before.
        NewIncarnation,
        /// A node that is known by its acknowledged messages has a smaller incarnation than the known
        /// one.
        SmallerIncarnation,
        /// A receiver has restarted, and messages to it are unknown.
        ReceiverRestarted,
        /// An acknowledged message ends by its time-out.
        AckedLate,
        /// Stored messages of an earlier incarnation are sent.
        OutboxReplayed,
        /// Stored messages are sent once more, as they were not delivered.
        OutboxReplayedAgain,
        /// A peer is removed from the table because it does not answer.
        PeerGivenUp,
        /// A peer that was given up returns.
        PeerFoundAgain,
        /// A peer of the table is replaced by another node at its address.
        PeerReplaced,
        /// A peer is not added because the table is full.
        TableFull,
        /// A peer is not added because its share of the table is used up.
        ShareFull,
        /// An unverified peer is displaced from the table.
        PeerDisplaced,
        /// A join is tried again in the background.
        JoinRetried,
        /// A join succeeds in the background.
        JoinRetrySucceeded,
        /// A ban begins.
        Banned,
        /// A ban ends.
        BanEnded,
        /// A connection of a banned peer is closed.
        BannedConnection,
        /// A connection is refused because there are too many.
        ConnectionRefused,
        /// A connection without a header is closed for a newer one.
        ConnectionDisplaced,
        /// A routed message comes back to a node on its path.
        RoutedLoop,
        /// A routed message has made too many hops.
        RoutedHopLimit,
        /// A routed message has no next hop.
        RoutedNoRoute,
        /// A stop aborts exchanges that do not end within the drain time-out.
        DrainTimedOut,
        /// An exchange is aborted by the stop of its node.
        ExchangeAborted,
        /// A part of a node is restarted after a panic.
        PartRestarted,
        /// This node refuses a code without a handler.
        RefusedUnknownCode,
        /// This node refuses a message that is too long.
        RefusedTooLong,
        /// This node refuses a message because all permits are in use.
        RefusedBusy,
        /// A handler of this node has failed.
        RefusedHandlerFailed,
        /// A handler of this node has stopped.
        RefusedHandlerGone,
        /// A handler of this node does not answer in time.
        RefusedHandlerLate,
        /// This node refuses data that is not a message of the handler's type.
        RefusedBadMessage,
        /// This node refuses a message because it stops.
        RefusedStopping,
        /// This node refuses a claimed id.
        RefusedNotYourId,
        /// This node refuses a connection without TLS.
        RefusedNoTls,
        /// The other side ends an exchange: it has no handler for the code.
        ResetUnknownCode,
        /// The other side ends an exchange: the message is too long.
        ResetTooLong,
        /// The other side ends an exchange: it is busy.
        ResetBusy,
        /// The other side ends an exchange: its handler has failed.
        ResetHandlerFailed,
        /// The other side ends an exchange: its handler has stopped.
        ResetHandlerGone,
        /// The other side ends an exchange: this node is not allowed to do this.
        ResetNotAllowed,
        /// The other side has cancelled an exchange.
        ResetCancelled,
        /// The other side ends an exchange: it took too long.
        ResetTimedOut,
        /// The other side ends an exchange: it stops.
        ResetGoingAway,
        /// The other side ends an exchange: the data is not a message of the handler's type.
        ResetMalformed,
        /// The other side ends an exchange: the message turned out to be too long after its handler
        /// was called.
        ResetTooLongBegun,
        /// The other side ends an exchange for another reason.
        ResetOther,
    }
}

#[cfg(feature = "test-utils")]
pub(crate) use self::simulated::{FaultPoints, Level, fault_point, reached};

/// Whether the unusual behaviour is taken here. Always false outside of a simulation.
#[cfg(not(feature = "test-utils"))]
#[inline(always)]
pub(crate) const fn fault_point(_: FaultPoint) -> bool {
    false
}

/// Notes that a situation has occurred.
#[cfg(not(feature = "test-utils"))]
#[inline(always)]
pub(crate) const fn reached(_: Sometimes) {}

#[cfg(feature = "test-utils")]
mod simulated;
