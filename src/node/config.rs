//! The named limits and times of a node.

mod switches;

use std::time::Duration;

use serde::Serialize;

use crate::{
    link::REMEMBERED_FOR,
    overlay::{
        ForwardPolicy, JoinPolicy, QuitPolicy, Shares,
        options::{
            ANY, BYTES, COUNT, COUNT_OR_NONE, ConfigError, LENGTH, NUMBER, Options, PACE, PERCENT,
            PLACES, Setting, TIME, settings,
        },
    },
};

/// The longest [`Config::reliable_timeout`]: a message is given up a minute before its receiver may
/// have forgotten that it has had it.
const RELIABLE_TIMEOUT: Duration = REMEMBERED_FOR.saturating_sub(Duration::from_secs(60));

/// One option as [`Config::entries`] lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// The name of the option, as its setter is called.
    pub option: &'static str,
    /// Its value with the unit, as text.
    pub value: String,
    /// What it bounds, in a few words.
    pub about: &'static str,
    /// Its least value, as text.
    pub least: String,
    /// Its greatest value, as text.
    pub greatest: String,
}

macro_rules! options {
    ($( $(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $unit:literal, $about:literal, $bounds:expr; )*) => {
        /// Every limit and every time of a node, each with a default that suits a network of
        /// strangers.
        ///
        /// Built by setters and checked when the node starts: what is out of its bounds is a
        /// [`ConfigError`]. A time is 1 ms to 365 days, `reliable_timeout` at most 540 s; a number of
        /// things is 1 to 1,048,576, `event_queue` at most 65,536, `max_hops` 255; a length of
        /// messages is at most 1 GiB, a sum of bytes 1 TiB (1 GiB where addresses have 32 bits), a
        /// pace 1,000,000,000 in a second, a share 100 %. Only [`max_peers`](Self::max_peers) may be
        /// 0, which means no limit, as in the original framework. [`entries`](Self::entries) has the
        /// bounds of each.
        ///
        /// ```
        /// use std::time::Duration;
        /// use actix_peer::Config;
        ///
        /// let config = Config::default()
        ///     .max_frame_len(64 << 10)
        ///     .handler_timeout(Duration::from_secs(2));
        /// assert!(config.validate().is_ok());
        /// assert_eq!(config.max_requests(0).validate().unwrap_err().option, "max_requests");
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct Config {
            $( pub(crate) $name: $type, )*
            pub(crate) max_peers: usize,
            pub(crate) explain_refusals: bool,
            pub(crate) leave_on_stop: bool,
            pub(crate) links: bool,
            pub(crate) join_policy: JoinPolicy,
            pub(crate) quit_policy: QuitPolicy,
            pub(crate) forward: ForwardPolicy,
            pub(crate) limit_loopback: bool,
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $( $name: $default, )*
                    max_peers: 128,
                    explain_refusals: true,
                    leave_on_stop: true,
                    links: true,
                    join_policy: JoinPolicy::default(),
                    quit_policy: QuitPolicy::default(),
                    forward: ForwardPolicy::default(),
                    limit_loopback: false,
                }
            }
        }

        impl Config {
            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $name(mut self, value: $type) -> Self {
                    self.$name = value;
                    self
                }
            )*

            /// Every limit and time with its value and its bounds: what the README's table shows and a
            /// status page can show.
            #[must_use]
            pub fn entries(&self) -> Vec<ConfigEntry> {
                let about = ["known peers in the table; 0 = no limit", $( $about, )*];
                let mut options = self.clone();
                let entry = |(setting, about): (Setting<'_>, _)| {
                    let (value, least, greatest) = setting.show();
                    ConfigEntry { option: setting.option, value, about, least, greatest }
                };
                options.settings().into_iter().zip(about).map(entry).collect()
            }

            /// Says whether every limit is within its bounds.
            ///
            /// # Errors
            /// The first option that is not.
            pub fn validate(&self) -> Result<(), ConfigError> {
                self.validate_all()
            }
        }

        impl Options for Config {
            fn settings(&mut self) -> Vec<Setting<'_>> {
                settings! {
                    "max_peers", "peers", &mut self.max_peers, COUNT_OR_NONE;
                    $( stringify!($name), $unit, &mut self.$name, $bounds; )*
                }
            }
        }
    };
}

options! {
    /// How much of the table one address may have: an IPv4 address, the /64 of an IPv6 address; in
    /// percent of `max_peers`, at least two peers. Default 25 %. 100 % is no share.
    ///
    /// The price of more: who has one address can have so much of the table, and with it of what
    /// this node learns of the network. This share and the next four hold for peers that join
    /// themselves and for those that others list; not on loopback, and not for what the program adds
    /// ([`Shares`]).
    address_share: u32 = 25, "%", "of the table for peers at one address, at least 2", PERCENT;
    /// How much of the table one network may have: the /24 of an IPv4 address, the /48 of an IPv6
    /// address; in percent, at least two peers. Default 50 %.
    network_share: u32 = 50, "%", "of the table for peers in one /24 or /48, at least 2", PERCENT;
    /// How much of the table peers may have that one and the same peer has listed; in percent, at least
    /// two peers. Default 12 %, less than an eighth: who lists only its own does not fill the table.
    source_share: u32 = 12, "%", "of the table for peers listed by one, at least 2", PERCENT;
    /// How much of the table peers may have that are not verified yet; in percent, at least two
    /// peers. Default 50 %.
    unverified_share: u32 = 50, "%", "of the table for unverified peers, at least 2", PERCENT;
    /// How much of the table peers may have that joined themselves and were verified less than
    /// `newcomer_time` ago; in percent, at least two peers. Default 75 %: a flood of newcomers does
    /// not get the rest.
    newcomer_share: u32 = 75, "%", "of the table for peers that joined lately, at least 2", PERCENT;
    /// How long a peer that joined is a newcomer after it was verified. Default 600 s.
    newcomer_time: Duration = Duration::from_secs(600), "", "a verified peer is a newcomer", TIME;
    /// The longest frame that is taken whole, in bytes of data: requests for ordinary handlers and
    /// reply frames.
    ///
    /// Default 1 MiB. The price of more: each connection may hold that much. Longer data belongs to
    /// a streaming handler ([`Builder::handle_stream`](crate::Builder::handle_stream)), to which
    /// this limit does not apply.
    max_frame_len: u32 = 1 << 20, "bytes", "data of a frame that is taken whole", LENGTH;
    /// The longest request for the well-known codes (`NAME`, `LIST`, `JOIN`, `QUIT`, `PING`), in
    /// bytes of data. Default 1 KiB.
    max_control_len: u32 = 1 << 10, "bytes", "data of a request for a well-known code", LENGTH;
    /// What one question of the framework itself (`NAME`, `LIST`, `JOIN`, `QUIT` and `PING`, asked by a
    /// join, a leave or a ping sweep) takes as its answer, in bytes of all reply frames, headers
    /// included. Default 64 KiB: a `LIST` of some 700 peers with proven ids.
    ///
    /// A longer answer counts as a broken one. A network of larger tables needs more.
    max_control_reply: usize = 64 << 10, "bytes", "replies to one question for a well-known code", BYTES;
    /// What all connections together hold of frames that have not come in full, in bytes. Default
    /// 64 MiB, taken in steps of 64 KiB as bytes arrive, never for what was only announced; frames up
    /// to 4 KiB are exempt.
    ///
    /// Beyond it no more of a frame is read until there is room, or its time is up
    /// (`body_timeout`); of a message that comes over a link in several frames no more is kept: it is
    /// refused as busy; besides, each link holds one frame, of up to 64 KiB. Small frames keep flowing. A frame that is taken whole is never longer than
    /// this. The price of more: the memory, all of which strangers can take.
    max_partial_bytes: usize = 64 << 20, "bytes", "frames that have not come in full, whole node", BYTES;
    /// What all own requests together hold of replies that are not complete, in bytes: of frames that
    /// have not come in full, and of what [`Replies::collect`](crate::Replies::collect) has gathered.
    /// Default 64 MiB, taken in steps of 64 KiB as bytes arrive; the first 64 KiB of a frame and of a
    /// collection are exempt, so that short replies flow.
    ///
    /// A request for whose replies there is no room ends with
    /// [`RequestError::NoRoom`](crate::RequestError::NoRoom). Besides, each open request holds what it
    /// has not read: 64 KiB, on a link up to 256 KiB. The price of more: the memory, all of which those
    /// who are asked can take.
    max_partial_replies: usize = 64 << 20, "bytes", "replies that are not complete, all own requests", BYTES;
    /// How many bytes of data [`Replies::collect`](crate::Replies::collect) gathers at most.
    /// Default 16 MiB.
    max_collected: usize = 16 << 20, "bytes", "data of all replies that are collected", BYTES;
    /// Accepted connections open at once, silent ones included. Default 1,024.
    ///
    /// A connection beyond it is told so (`ERRO`, busy) and closed. The price of more: about 2 KiB
    /// for a silent connection, one file descriptor each; a node that may not have so many lowers it
    /// at the start, with a warning, so that 64 descriptors are left.
    max_connections: usize = 1_024, "connections", "accepted connections open at once", COUNT;
    /// Accepted connections open at once from one source: an IPv4 address, the /64 of an IPv6
    /// address. Default 64. Not for loopback, unless [`limit_loopback`](Self::limit_loopback) says so.
    ///
    /// A connection beyond it is told so (`ERRO`, busy) and closed. The price of more: one source can
    /// take so many of `max_connections`. A network of many nodes behind one address needs more.
    max_connections_per_source: usize = 64, "connections", "accepted connections, each source address", COUNT;
    /// Accepted connections at once whose header is not complete. Default 512.
    ///
    /// When there are more, the oldest from the source that has the most of them is closed, not the
    /// newcomer. The price of more: about 2 KiB and a file descriptor each.
    max_half_open: usize = 512, "connections", "accepted connections without a complete header", COUNT;
    /// Connections that are accepted from one source in a second, on average; twice as many at once
    /// is a burst. Default 200. Those beyond it are closed without a word. Loopback has no pace, unless
    /// [`limit_loopback`](Self::limit_loopback) says so.
    max_accepts_per_source: u32 = 200, "connections/s", "new connections, each source address", PACE;
    /// Frames from one source in a second, on average, on all its connections and links; twice as many
    /// at once is a burst. Default 1,000,000.
    ///
    /// Beyond it a classic request is refused as busy, and a link is not read from for as long as it
    /// takes, so that its sender waits: that is no error. Loopback has no pace, unless
    /// [`limit_loopback`](Self::limit_loopback) says so. The price of more: the time of one core that a
    /// source can take; less costs a busy honest peer its speed.
    max_frames_per_source: u32 = 1_000_000, "frames/s", "frames, each source address", PACE;
    /// Bytes from one source in a second, on average, as
    /// [`max_frames_per_source`](Self::max_frames_per_source). Default 256 MiB: twice what gigabit
    /// Ethernet brings. A faster network among friends needs more.
    max_bytes_per_source: u32 = 256 << 20, "bytes/s", "bytes, each source address", ANY;
    /// Points for misbehaviour at which a source, or a proven id, is banned. Default 100;
    /// [`Misbehavior`](crate::limits::Misbehavior) says what costs how many. `u32::MAX` bans nobody.
    ///
    /// A banned source is refused at accept, without a word, and its links are cut. Loopback has no
    /// points, unless [`limit_loopback`](Self::limit_loopback) says so.
    ban_at: u32 = 100, "points", "misbehaviour that is a ban, each source address or proven id", ANY;
    /// Points are half as many after this time. Default 60 s. The price of more: a long memory adds up
    /// what happens to everybody now and then.
    ban_half_life: Duration = Duration::from_secs(60), "", "points for misbehaviour fade by half", TIME;
    /// The first ban. Default 60 s; the next one is twice as long.
    ban_time: Duration = Duration::from_secs(60), "", "the first ban", TIME;
    /// The longest ban, and how long the last one is remembered after its end. Default 3,600 s. The
    /// price of more: who gets the address next is banned, too.
    ban_longest: Duration = Duration::from_secs(3_600), "", "the longest ban", TIME;
    /// Requests in the hands of handlers at once, in the whole node. Default 1,024.
    max_requests: usize = 1_024, "requests", "requests in hand, whole node", COUNT;
    /// Requests in the hands of handlers at once, for each code. Default 64: a slow handler fills
    /// its own share and no more.
    max_requests_per_code: usize = 64, "requests", "requests in hand, each code", COUNT;
    /// How long a request waits for a place among those in hand before it is refused as busy.
    /// Default 50 ms. Over a link it includes the wait behind earlier messages for the same actor.
    busy_after: Duration = Duration::from_millis(50), "", "wait for a place in hand, then busy", TIME;
    /// Outgoing connections that are being opened at once. Default 32; a further one waits, at most
    /// `connect_timeout`. They take nothing from those that are accepted.
    max_dials: usize = 32, "dials", "connections being opened at once", COUNT;
    /// Dials in a second of addresses that only somebody's word leads to, on average: peers that
    /// joined and are not verified, and peers that others listed. Default 32; a further one waits.
    ///
    /// What the program asks for, and peers that are verified, have no pace.
    max_unverified_dials: u32 = 32, "dials/s", "dials of unverified addresses", PACE;
    /// Dials in a minute of one such address. Default 3; it is not dialled more often until it has
    /// answered as expected.
    max_dials_per_unverified: u32 = 3, "dials/min", "dials of each unverified address", NUMBER;
    /// Outgoing exchanges open at once. Default 1,024; a further one waits, at most
    /// `connect_timeout`.
    max_outgoing: usize = 1_024, "exchanges", "own exchanges open at once", COUNT;
    /// From accepting a connection to its complete header of eight bytes. Default 10 s, not renewed
    /// by single bytes.
    header_timeout: Duration = Duration::from_secs(10), "", "accept to complete header", TIME;
    /// From the header to the complete data of a frame that is taken whole. Default 30 s, and one
    /// second more for each 64 KiB above 1 MiB.
    body_timeout: Duration = Duration::from_secs(30), "", "header to complete data", TIME;
    /// Without a byte of progress while a body is streamed in, or while anything is written.
    /// Default 30 s.
    ///
    /// A slow but honest reader is served to the end: only standstill counts.
    stall_timeout: Duration = Duration::from_secs(30), "", "no progress in streaming or writing", TIME;
    /// From handing a request to its handler to the reply. Default 30 s. For a reply that is a
    /// stream: from one frame to the next.
    handler_timeout: Duration = Duration::from_secs(30), "", "handler's time for a reply", TIME;
    /// A whole exchange that this node answers, from its header to the last byte of the reply, however
    /// well it moves. Default 86,400 s: a slow but honest reader has a day. On a link it counts from
    /// the message's place with its handler on. The price of more: who takes a byte now and then keeps
    /// a place with the handler for as long.
    exchange_timeout: Duration = Duration::from_secs(86_400), "", "a whole exchange, however it moves", TIME;
    /// From wanting an outgoing connection to having it, waiting for a place included. Default 5 s.
    connect_timeout: Duration = Duration::from_secs(5), "", "opening a connection", TIME;
    /// The caller's wait for the first byte of the replies, and from then on without progress.
    /// Default 35 s: more than the other side's `handler_timeout`, so that its refusal is heard.
    reply_timeout: Duration = Duration::from_secs(35), "", "wait for the next part of a reply", TIME;
    /// LinkPool open at once that this node uses to reach others. Default 256. One that is idle makes
    /// room for a new one, the least recently used first; when none is, messages take classic
    /// exchanges.
    ///
    /// A link that is being closed counts until it is over: the next one is dialled then, 2 s later at
    /// most when nothing is open on it. LinkPool that others open count among the connections, too. The
    /// price of more: up to 16 KiB for an idle link.
    max_links: usize = 256, "links", "links open at once", COUNT;
    /// Requests that another node may have open on one link. Default 64, as many as one code has
    /// places for; a further one waits at its sender.
    max_link_requests: u32 = 64, "requests", "open requests of the other side, each link", NUMBER;
    /// The window of a link: bytes of one-way messages and requests that have come and that handlers
    /// have not let go of. Default 2 MiB; at least twice `max_frame_len` is granted in any case.
    ///
    /// A sender beyond it waits. The price of more: the memory, for each link.
    link_window: u32 = 2 << 20, "bytes", "unhandled data of one link", LENGTH;
    /// A link on which nothing was open or sent for so long is ended. Default 60 s.
    link_idle_timeout: Duration = Duration::from_secs(60), "", "a link without use, then closed", TIME;
    /// The pause between two questions over a link whether the other side is alive. Default 5 s;
    /// three without any sign end the link.
    keep_alive: Duration = Duration::from_secs(5), "", "between two signs of life on a link", TIME;
    /// Messages to one peer that wait to be acknowledged
    /// ([`Peer::send_reliable`](crate::Peer::send_reliable)). Default 1,024. A further one waits, or
    /// is refused as [`ReliableError::Full`](crate::reliable::ReliableError::Full).
    ///
    /// The price of more: the memory. The other node remembers 4,096 messages: the oldest that waits
    /// is never farther behind than that, whatever is set here.
    reliable_messages: usize = 1_024, "messages", "unacknowledged messages, each peer", COUNT;
    /// Bytes of data of messages to one peer that wait to be acknowledged. Default 4 MiB; one message
    /// of any length is taken when no other waits.
    reliable_bytes: usize = 4 << 20, "bytes", "unacknowledged data, each peer", BYTES;
    /// How long a message waits to be acknowledged, over however many links, before its sender is told
    /// that it was not sent or that nobody knows. Default 300 s, at most 540 s: the other node
    /// remembers it for 600 s.
    reliable_timeout: Duration = Duration::from_secs(300), "", "wait for an acknowledgement", *TIME.start()..=RELIABLE_TIMEOUT;
    /// How long it is remembered that a peer speaks no links. Default 600 s.
    classic_memory: Duration = Duration::from_secs(600), "", "remembering that a peer has no links", TIME;
    /// How long `stop` lets what runs come to its end before it cuts it. Default 10 s.
    drain_timeout: Duration = Duration::from_secs(10), "", "finishing what runs at stop", TIME;
    /// How often a routed message may be passed on, by its asker and by the nodes in between. Default
    /// 8, so that seven nodes may be in between; at most 255. A message of another asker goes no
    /// further than this either, whatever it says.
    max_hops: u32 = 8, "hops", "nodes that a routed message may pass", 1..=255;
    /// Messages of others that this node passes on in a second for one source, on average; twice as
    /// many at once is a burst. Default 1,000. One beyond it is a
    /// [`RouteReason::Busy`](crate::overlay::RouteReason::Busy) at its asker. Loopback has no pace,
    /// unless [`limit_loopback`](Self::limit_loopback) says so. The price of more: the traffic that a
    /// neighbour can have this node make.
    max_forwards_per_source: u32 = 1_000, "messages/s", "messages passed on for others, each source address", PACE;
    /// Events that a slow [`Events`](crate::Events) stream may lag behind before it misses some.
    /// Default 1,024.
    event_queue: usize = 1_024, "events", "events kept for a slow listener", PLACES;
}

impl Config {
    /// The shares of the table.
    pub(crate) const fn shares(&self) -> Shares {
        Shares {
            address: self.address_share,
            network: self.network_share,
            source: self.source_share,
            unverified: self.unverified_share,
            newcomers: self.newcomer_share,
            newcomer_for: self.newcomer_time,
        }
    }

    /// The time for the data of a frame with `len` bytes that is taken whole.
    pub(crate) fn body_deadline(&self, len: u32) -> Duration {
        let steps = len.saturating_sub(1 << 20).div_ceil(64 << 10);
        self.body_timeout.saturating_add(Duration::from_secs(u64::from(steps)))
    }
}
