//! Routed messages: one request over many hops.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    fault_points::{Sometimes, reached},
    frame::{Frame, TypeCode},
    overlay::{PeerId, PeerInfo, PeerList, Router},
};

/// A routed message: its destination, its origin, the nodes that it passed, the hops left, and the
/// message itself.
///
/// On the wire it is a frame `@FWD`: the header in postcard (destination, origin, hops left, trace,
/// code), then the data as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    to: PeerId,
    origin: PeerId,
    hops_left: u8,
    trace: Vec<PeerId>,
    frame: Frame,
}

#[derive(Serialize, Deserialize)]
struct Header {
    to: PeerId,
    origin: PeerId,
    hops_left: u8,
    trace: Vec<PeerId>,
    code: [u8; 4],
}

/// Why a routed message could not be delivered. The numbers are in the [table of
/// faults](crate::protocol#faults).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RouteReason {
    /// The node already forwards the maximum for this neighbour
    /// ([`Config::max_forwards_per_source`](crate::Config::max_forwards_per_source)).
    Busy,
    /// The router panicked.
    RouterFailed,
    /// The node forwards nothing, or nothing for this neighbour
    /// ([`ForwardPolicy`](crate::overlay::ForwardPolicy)).
    Refused,
    /// The message is malformed, or may not be routed.
    Malformed,
    /// The router knows no path.
    NoRoute,
    /// The message has used all of its hops.
    HopLimit,
    /// The message reached a node that it had already passed.
    Loop,
    /// The next node could not be connected to.
    Unreachable,
    /// The connection to the next node broke. The message may have been handled.
    Broken,
    /// The next node is not the destination and cannot forward messages: it is an original program.
    NotForwarding,
    /// A reason that this version does not know. The message may have been handled.
    Other(u16),
}

impl RouteReason {
    const fn number(self) -> u16 {
        match self {
            Self::Busy => 3,
            Self::RouterFailed => 4,
            Self::Refused => 6,
            Self::Malformed => 10,
            Self::NoRoute => 11,
            Self::HopLimit => 12,
            Self::Loop => 256,
            Self::Unreachable => 257,
            Self::Broken => 258,
            Self::NotForwarding => 259,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u16) -> Self {
        match number {
            3 => Self::Busy,
            4 => Self::RouterFailed,
            6 => Self::Refused,
            10 => Self::Malformed,
            11 => Self::NoRoute,
            12 => Self::HopLimit,
            256 => Self::Loop,
            257 => Self::Unreachable,
            258 => Self::Broken,
            259 => Self::NotForwarding,
            number => Self::Other(number),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Busy => "it passes on too much already",
            Self::Refused => "it passes nothing on",
            Self::NotForwarding => "the next node passes nothing on",
            Self::RouterFailed => "the router failed",
            Self::Malformed => "not a message that can be routed",
            Self::NoRoute => "no route",
            Self::HopLimit => "too many hops",
            Self::Loop => "a loop",
            Self::Unreachable => "the next node is unreachable",
            Self::Broken => "the next node broke off",
            Self::Other(_) => "an unknown reason",
        }
    }
}

/// A report that a routed message could not be delivered: why and where. On the wire it is a frame
/// `@FWE`: the reason (two bytes, big-endian), the id of the node, and, if it is known, a zero byte
/// and the number of hops to that node (one byte).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} at {at}", reason.text())]
pub struct RouteFault {
    reason: RouteReason,
    at: PeerId,
    hop: Option<u8>,
}

impl RouteFault {
    /// A fault for `reason` at the node `at`.
    #[must_use]
    pub const fn new(reason: RouteReason, at: PeerId) -> Self {
        Self { reason, at, hop: None }
    }

    /// The same fault, at this number of hops from the asker.
    #[must_use]
    pub const fn at_hop(mut self, hop: u8) -> Self {
        self.hop = Some(hop);
        self
    }

    /// The number of hops that the message made, as the failing node reports: 0 is the asker
    /// itself, 1 its neighbour. `None` if the message could not be read.
    #[must_use]
    pub const fn hop(&self) -> Option<u8> {
        self.hop
    }

    /// The reason.
    #[must_use]
    pub const fn reason(&self) -> RouteReason {
        self.reason
    }

    /// The node where the message failed, as that node reports.
    #[must_use]
    pub const fn at(&self) -> &PeerId {
        &self.at
    }

    /// Whether the message may have been handled at its destination. False is as reliable as the
    /// reports of the nodes on the path.
    #[must_use]
    pub const fn may_have_been_handled(&self) -> bool {
        matches!(self.reason, RouteReason::Broken | RouteReason::Other(_))
    }

    /// The frame that reports it.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let mut data = self.reason.number().to_be_bytes().to_vec();
        data.extend_from_slice(self.at.as_str().as_bytes());
        data.extend(self.hop.into_iter().flat_map(|hop| [0, hop]));
        Frame::new(TypeCode::FWE, data)
    }

    /// Reads the report from a frame; `None` if the frame is not a report.
    #[must_use]
    pub fn from_frame(frame: &Frame) -> Option<Self> {
        let (number, at) =
            frame.data().split_first_chunk().filter(|_| frame.code() == TypeCode::FWE)?;
        let (at, hop) = match at {
            [at @ .., 0, hop] => (at, Some(*hop)),
            at => (at, None),
        };
        let at = std::str::from_utf8(at).ok()?.parse().ok()?;
        Some(Self { reason: RouteReason::from_number(u16::from_be_bytes(*number)), at, hop })
    }
}

/// What a node does with a routed message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hop {
    /// Deliver it: the message is for this node.
    Here(Envelope),
    /// Forward it to this peer.
    Next(PeerInfo, Envelope),
    /// Reject it with this fault.
    Fail(RouteFault),
}

impl Envelope {
    /// A message from `origin` for `to` that may be forwarded at most `hops` times.
    #[must_use]
    pub const fn new(to: PeerId, origin: PeerId, hops: u8, frame: Frame) -> Self {
        Self { to, origin, hops_left: hops, trace: Vec::new(), frame }
    }

    /// The number of times that it was forwarded so far.
    #[must_use]
    pub fn hops(&self) -> u8 {
        u8::try_from(self.trace.len()).unwrap_or(u8::MAX)
    }

    /// The same message with at most `hops` hops on its whole path, whatever its header says.
    #[must_use]
    pub fn at_most(mut self, hops: u8) -> Self {
        self.hops_left = self.hops_left.min(hops.saturating_sub(self.hops()));
        self
    }

    /// The destination.
    #[must_use]
    pub const fn to(&self) -> &PeerId {
        &self.to
    }

    /// The origin, as the nodes on the path report.
    #[must_use]
    pub const fn origin(&self) -> &PeerId {
        &self.origin
    }

    /// The nodes that it passed, the origin first.
    #[must_use]
    pub fn trace(&self) -> &[PeerId] {
        &self.trace
    }

    /// The message itself.
    #[must_use]
    pub const fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The message, its origin, and the nodes that it passed, the origin first.
    #[must_use]
    pub fn into_delivery(self) -> (Frame, PeerId, Vec<PeerId>) {
        (self.frame, self.origin, self.trace)
    }

    /// Encodes it as a frame `@FWD`; `None` if the header is too long, which these types do not
    /// allow.
    #[must_use]
    pub fn encode(&self) -> Option<Frame> {
        let header = Header {
            to: self.to.clone(),
            origin: self.origin.clone(),
            hops_left: self.hops_left,
            trace: self.trace.clone(),
            code: *self.frame.code().as_bytes(),
        };
        let mut data = postcard::to_stdvec(&header).ok()?;
        data.extend_from_slice(self.frame.data());
        Some(Frame::new(TypeCode::FWD, data))
    }

    /// Decodes the message in a frame `@FWD`; its data is shared, not copied. `None` if it is
    /// malformed, or if its message has a code of the framework.
    #[must_use]
    pub fn decode(frame: &Frame) -> Option<Self> {
        let data: &Bytes = frame.data();
        let (header, rest): (Header, _) =
            postcard::take_from_bytes(data).ok().filter(|_| frame.code() == TypeCode::FWD)?;
        let code = TypeCode::from(header.code);
        if code.is_reserved() || header.trace.len() > usize::from(u8::MAX) {
            return None;
        }
        let frame = Frame::new(code, data.slice_ref(rest));
        let Header { to, origin, hops_left, trace, .. } = header;
        Some(Self { to, origin, hops_left, trace, frame })
    }

    /// Decides what the node `me` does with it.
    #[must_use]
    pub fn step(mut self, me: &PeerId, router: &mut dyn Router, peers: &PeerList) -> Hop {
        let hops = self.hops();
        let fail = |reason| Hop::Fail(RouteFault::new(reason, me.clone()).at_hop(hops));
        if self.to == *me {
            return Hop::Here(self);
        }
        if self.trace.contains(me) {
            reached(Sometimes::RoutedLoop);
            return fail(RouteReason::Loop);
        }
        let Some(hops_left) = self.hops_left.checked_sub(1) else {
            reached(Sometimes::RoutedHopLimit);
            return fail(RouteReason::HopLimit);
        };
        match router.next_hop(&self.to, peers) {
            Some(next) => {
                self.hops_left = hops_left;
                self.trace.push(me.clone());
                Hop::Next(next, self)
            }
            None => {
                reached(Sometimes::RoutedNoRoute);
                fail(RouteReason::NoRoute)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::overlay::{Direct, Learned, router};

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn envelope(hops: u8) -> Envelope {
        Envelope::new(id("c"), id("a"), hops, Frame::text("ECHO", "hi"))
    }

    fn peers(me: &str, known: &[&str]) -> PeerList {
        let mut list = PeerList::new(id(me), 0);
        for (n, known) in known.iter().enumerate() {
            let now = tokio::time::Instant::now().into_std();
            list.add(format!("{known} 10.0.0.{n} 9000").parse().unwrap(), Learned::Manual, now);
        }
        list
    }

    #[test]
    fn a_message_goes_from_hop_to_hop_and_records_the_path() {
        let mut by_b =
            router::from_fn(|_, peers| peers.get(&id("b")).map(|entry| entry.info().clone()));
        let Hop::Next(next, passed) = envelope(3).step(&id("a"), &mut by_b, &peers("a", &["b"]))
        else {
            panic!()
        };
        assert_eq!(next.id(), &id("b"));
        let Hop::Next(next, passed) = passed.step(&id("b"), &mut Direct, &peers("b", &["c"]))
        else {
            panic!()
        };
        assert_eq!(next.id(), &id("c"));
        let Hop::Here(arrived) = passed.step(&id("c"), &mut Direct, &peers("c", &[])) else {
            panic!()
        };
        assert_eq!(
            arrived.into_delivery(),
            (Frame::text("ECHO", "hi"), id("a"), vec![id("a"), id("b")])
        );
    }

    #[test]
    fn a_dead_end_a_loop_and_too_many_hops_report_their_node() {
        let fault = |hop| match hop {
            Hop::Fail(fault) => {
                let hop =
                    u8::from(fault.at().as_str() == "b" && fault.reason() == RouteReason::Loop);
                assert_eq!(fault.hop(), Some(hop));
                (fault.reason(), fault.at().clone())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            fault(envelope(3).step(&id("b"), &mut Direct, &peers("b", &["x"]))),
            (RouteReason::NoRoute, id("b"))
        );
        assert_eq!(
            fault(envelope(0).step(&id("b"), &mut Direct, &peers("b", &["c"]))),
            (RouteReason::HopLimit, id("b"))
        );
        let Hop::Next(_, passed) = envelope(3).step(&id("b"), &mut Direct, &peers("b", &["c"]))
        else {
            panic!()
        };
        assert_eq!(
            fault(passed.step(&id("b"), &mut Direct, &peers("b", &["c"]))),
            (RouteReason::Loop, id("b"))
        );
    }

    #[test]
    fn a_message_with_a_code_of_the_framework_is_not_forwarded() {
        let nested = Envelope::new(id("c"), id("a"), 1, envelope(1).encode().unwrap());
        assert_eq!(Envelope::decode(&nested.encode().unwrap()), None);
    }

    #[test]
    fn a_message_goes_no_further_than_a_node_allows_whatever_its_header_says() {
        let Hop::Next(_, passed) =
            envelope(u8::MAX).at_most(2).step(&id("b"), &mut Direct, &peers("b", &["c"]))
        else {
            panic!()
        };
        assert_eq!((passed.hops(), passed.hops_left), (1, 1));
        assert_eq!(passed.clone().at_most(9).hops_left, 1, "nor further than it says");
        assert_eq!(passed.at_most(0).hops_left, 0);
    }

    #[test]
    fn a_report_survives_the_wire_with_unknown_numbers() {
        for number in [0, 4, 10, 11, 12, 13, 256, 257, 258, 259, u16::MAX] {
            let fault = RouteFault::new(RouteReason::from_number(number), id("b"));
            let at_hop = fault.clone().at_hop(7);
            assert_eq!(RouteFault::from_frame(&at_hop.to_frame()), Some(at_hop));
            assert_eq!(RouteFault::from_frame(&fault.to_frame()), Some(fault));
        }
        assert_eq!(RouteFault::from_frame(&Frame::text("REPL", "\0\x0bb")), None);
        assert_eq!(RouteFault::from_frame(&Frame::text("@FWE", "\0")), None);
    }

    proptest! {
        #[test]
        fn an_encoded_value_decodes_to_itself(hops in any::<u8>(), trace in proptest::collection::vec("[a-z]{1,9}", 0..20), data in any::<Vec<u8>>()) {
            let mut sent = Envelope::new(id("to"), id("me"), hops, Frame::new(b"DATA", data));
            sent.trace = trace.iter().map(|text| id(text)).collect();
            prop_assert_eq!(Envelope::decode(&sent.encode().unwrap()), Some(sent));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused_without_a_panic(data in any::<Vec<u8>>()) {
            drop(Envelope::decode(&Frame::new(TypeCode::FWD, data.clone())));
            drop(RouteFault::from_frame(&Frame::new(TypeCode::FWE, data)));
        }
    }
}
