//! The named limits and time-outs of a node.

mod presets;
mod switches;
mod written;

use std::time::Duration;

use serde::{Deserialize, Serialize};

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

/// The maximum of [`Config::reliable_timeout`]: the sender gives a message up one minute before its
/// receiver may have forgotten it.
const RELIABLE_TIMEOUT: Duration = REMEMBERED_FOR.saturating_sub(Duration::from_secs(60));

/// One option as [`Config::entries`] lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// The name of the option, as its setter is called.
    pub option: &'static str,
    /// Its value with the unit, as text.
    pub value: String,
    /// A short description of what it bounds.
    pub about: &'static str,
    /// Its minimum, as text.
    pub least: String,
    /// Its maximum, as text.
    pub greatest: String,
}

macro_rules! options {
    ($( $(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $unit:literal, $about:literal, $bounds:expr; )*) => {
        /// Every limit and time-out of a node. The defaults suit a network of untrusted peers.
        ///
        /// [`local`](Self::local), [`cluster`](Self::cluster) and [`internet`](Self::internet) are
        /// presets. An application can read a configuration from a file or the environment with
        /// any format of serde: options that are absent keep their defaults, unknown ones are an
        /// error, and a time is text with a unit, as in `"10s"` or `"250ms"`.
        ///
        /// The setters do not check their values. The node checks them when it starts: a value out
        /// of bounds is a [`ConfigError`].
        ///
        /// | kind of option | bounds |
        /// |---|---|
        /// | a time | 1 ms to 365 days; `reliable_timeout` at most 540 s |
        /// | a number of things | 1 to 1,048,576; `event_queue` at most 65,536, `max_hops` 255 |
        /// | a length of messages | at most 1 GiB |
        /// | a sum of bytes | at most 1 TiB (1 GiB where addresses have 32 bits) |
        /// | a rate | at most 1,000,000,000 per second |
        /// | a share | at most 100 % |
        ///
        /// Only [`max_peers`](Self::max_peers) may be 0, which means no limit, as in the original
        /// framework. [`entries`](Self::entries) has the bounds of each option.
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
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $( #[serde(with = "written")] pub(crate) $name: $type, )*
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

            /// Every limit and time-out with its value and its bounds, for example for a status
            /// page. The table of the README is made of it.
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

            /// Checks that every option is within its bounds.
            ///
            /// # Errors
            /// The first option that is out of bounds.
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
    /// The maximum share of the table for peers at one address: an IPv4 address, or the /64 of an
    /// IPv6 address. In percent of `max_peers`, at least two peers. Default 25 %; 100 % is no
    /// limit.
    ///
    /// This share and the next four apply to peers that join and to peers that others list. They do
    /// not apply on loopback, nor to peers that the application adds ([`Shares`]).
    ///
    /// Trade-off: with a higher value one address can fill more of the table, and control more of
    /// what this node learns about the network.
    address_share: u32 = 25, "%", "of the table for peers at one address, at least 2", PERCENT;
    /// The maximum share of the table for peers in one network: the /24 of an IPv4 address, or the
    /// /48 of an IPv6 address. In percent, at least two peers. Default 50 %.
    network_share: u32 = 50, "%", "of the table for peers in one /24 or /48, at least 2", PERCENT;
    /// The maximum share of the table for peers that one peer has listed. In percent, at least two
    /// peers. Default 12 %, less than an eighth: a peer that lists only its accomplices does not
    /// fill the table.
    source_share: u32 = 12, "%", "of the table for peers listed by one, at least 2", PERCENT;
    /// The maximum share of the table for peers that are not verified yet. In percent, at least two
    /// peers. Default 50 %.
    unverified_share: u32 = 50, "%", "of the table for unverified peers, at least 2", PERCENT;
    /// The maximum share of the table for peers that joined and were verified less than
    /// `newcomer_time` ago. In percent, at least two peers. Default 75 %: a flood of newcomers
    /// cannot take the rest.
    newcomer_share: u32 = 75, "%", "of the table for peers that joined lately, at least 2", PERCENT;
    /// How long a peer that joined counts as a newcomer after it was verified. Default 600 s.
    newcomer_time: Duration = Duration::from_secs(600), "", "a verified peer is a newcomer", TIME;
    /// The longest frame that is buffered whole, in bytes of data: requests for ordinary handlers
    /// and reply frames. Default 1 MiB.
    ///
    /// Longer data needs a streaming handler
    /// ([`Builder::handle_stream`](crate::Builder::handle_stream)), to which this limit does not
    /// apply.
    ///
    /// Trade-off: each connection may hold that much memory.
    max_frame_len: u32 = 1 << 20, "bytes", "data of a frame that is taken whole", LENGTH;
    /// The longest request for the well-known codes (`NAME`, `LIST`, `JOIN`, `QUIT`, `PING`), in
    /// bytes of data. Default 1 KiB.
    max_control_len: u32 = 1 << 10, "bytes", "data of a request for a well-known code", LENGTH;
    /// The longest answer to a request of the framework itself (`NAME`, `LIST`, `JOIN`, `QUIT` and
    /// `PING`, sent by a join, a leave or a ping sweep), in bytes of all reply frames, headers
    /// included. Default 64 KiB: a `LIST` of some 700 peers with proven ids.
    ///
    /// A longer answer counts as a failed one. A network of larger tables needs more.
    max_control_reply: usize = 64 << 10, "bytes", "replies to one question for a well-known code", BYTES;
    /// The memory of all connections for incomplete frames, in bytes. Default 64 MiB.
    ///
    /// It is taken in steps of 64 KiB as bytes arrive, never for an announced length. Frames up to
    /// 4 KiB are exempt, so that small frames keep flowing. In addition, each link holds one frame
    /// of up to 64 KiB. A frame that is buffered whole is never longer than this.
    ///
    /// When the memory is used up, the node stops to read a frame until there is room or its time
    /// is up (`body_timeout`). A message that arrives over a link in several frames is refused as
    /// busy.
    ///
    /// Trade-off: strangers can use all of this memory.
    max_partial_bytes: usize = 64 << 20, "bytes", "frames that have not come in full, whole node", BYTES;
    /// The memory of all requests of this node for incomplete replies, in bytes: incomplete frames,
    /// and frames gathered by [`Replies::collect`](crate::Replies::collect). Default 64 MiB.
    ///
    /// It is taken in steps of 64 KiB as bytes arrive. The first 64 KiB of a frame and of a
    /// collection are exempt, so that short replies keep flowing. In addition, each open request
    /// holds what it has not read: 64 KiB, on a link up to 256 KiB.
    ///
    /// A request whose replies find no room ends with
    /// [`RequestError::NoRoom`](crate::RequestError::NoRoom).
    ///
    /// Trade-off: the nodes that answer can use all of this memory.
    max_partial_replies: usize = 64 << 20, "bytes", "replies that are not complete, all own requests", BYTES;
    /// The maximum number of bytes that [`Replies::collect`](crate::Replies::collect) gathers.
    /// Default 16 MiB.
    max_collected: usize = 16 << 20, "bytes", "data of all replies that are collected", BYTES;
    /// Accepted connections that are open at once, including silent ones. Default 1,024.
    ///
    /// A further connection receives an `ERRO` (busy) and is closed. If the process may not open
    /// that many file descriptors, the node lowers the value at its start, with a warning, so that
    /// 64 descriptors are left.
    ///
    /// Trade-off: a silent connection takes about 2 KiB and one file descriptor.
    max_connections: usize = 1_024, "connections", "accepted connections open at once", COUNT;
    /// Accepted connections that are open at once from one source: an IPv4 address, or the /64 of
    /// an IPv6 address. Default 64. Does not apply to loopback, unless
    /// [`limit_loopback`](Self::limit_loopback) is set.
    ///
    /// A further connection receives an `ERRO` (busy) and is closed. A network with many nodes
    /// behind one address needs a higher value.
    ///
    /// Trade-off: with a higher value one source can take more of `max_connections`.
    max_connections_per_source: usize = 64, "connections", "accepted connections, each source address", COUNT;
    /// Accepted connections at once whose header is not complete. Default 512.
    ///
    /// If there are more, the node closes the oldest connection of the source that has the most of
    /// them, not the new one.
    ///
    /// Trade-off: each takes about 2 KiB and one file descriptor.
    max_half_open: usize = 512, "connections", "accepted connections without a complete header", COUNT;
    /// Connections accepted from one source per second, on average, with bursts of twice as many.
    /// Default 200. Further ones are closed without an answer. Does not apply to loopback, unless
    /// [`limit_loopback`](Self::limit_loopback) is set.
    max_accepts_per_source: u32 = 200, "connections/s", "new connections, each source address", PACE;
    /// Frames from one source per second, on average, over all its connections and links, with
    /// bursts of twice as many. Default 1,000,000. Does not apply to loopback, unless
    /// [`limit_loopback`](Self::limit_loopback) is set.
    ///
    /// Beyond this rate a classic request is refused as busy. A link is not read until the rate
    /// permits it, so that its sender waits; that is not an error.
    ///
    /// Trade-off: with a higher value one source can use more of a core; a lower value slows down a
    /// busy honest peer.
    max_frames_per_source: u32 = 1_000_000, "frames/s", "frames, each source address", PACE;
    /// Bytes from one source per second, on average, enforced as
    /// [`max_frames_per_source`](Self::max_frames_per_source). Default 256 MiB: twice the rate of
    /// gigabit Ethernet. A faster trusted network needs more.
    max_bytes_per_source: u32 = 256 << 20, "bytes/s", "bytes, each source address", ANY;
    /// The points for misbehavior at which a source, or a proven id, is banned. Default 100;
    /// `u32::MAX` disables bans. [`Misbehavior`](crate::limits::Misbehavior) lists the points.
    ///
    /// Connections of a banned source are closed when they are accepted, without an answer, and its
    /// links are closed. Does not apply to loopback, unless
    /// [`limit_loopback`](Self::limit_loopback) is set.
    ban_at: u32 = 100, "points", "misbehaviour that is a ban, each source address or proven id", ANY;
    /// The time after which points are halved. Default 60 s.
    ///
    /// Trade-off: with a higher value, rare errors of honest peers add up.
    ban_half_life: Duration = Duration::from_secs(60), "", "points for misbehaviour fade by half", TIME;
    /// The duration of the first ban. Default 60 s; each further ban is twice as long.
    ban_time: Duration = Duration::from_secs(60), "", "the first ban", TIME;
    /// The longest ban, and how long the last ban is remembered after its end. Default 3,600 s.
    ///
    /// Trade-off: the ban also affects the next user of the address.
    ban_longest: Duration = Duration::from_secs(3_600), "", "the longest ban", TIME;
    /// Requests that handlers process at once, in the whole node. Default 1,024.
    max_requests: usize = 1_024, "requests", "requests in hand, whole node", COUNT;
    /// Requests that handlers process at once, for each code. Default 64: a slow handler takes no
    /// more than its own share.
    max_requests_per_code: usize = 64, "requests", "requests in hand, each code", COUNT;
    /// How long a request waits for a permit before it is refused as busy. Default 50 ms. Over a
    /// link it includes the wait behind earlier messages for the same actor.
    busy_after: Duration = Duration::from_millis(50), "", "wait for a place in hand, then busy", TIME;
    /// Outgoing connections that are being opened at once. Default 32; a further one waits, at most
    /// `connect_timeout`. They do not count against accepted connections.
    max_dials: usize = 32, "dials", "connections being opened at once", COUNT;
    /// Dials of unverified addresses per second, on average: those of peers that joined and are not
    /// verified, and of peers that others listed. Default 32; a further one waits.
    ///
    /// Dials that the application asks for, and dials of verified peers, are not limited.
    max_unverified_dials: u32 = 32, "dials/s", "dials of unverified addresses", PACE;
    /// Dials of one unverified address per minute. Default 3; it is not dialled more often until it
    /// has answered as expected.
    max_dials_per_unverified: u32 = 3, "dials/min", "dials of each unverified address", NUMBER;
    /// Outgoing exchanges that are open at once. Default 1,024; a further one waits, at most
    /// `connect_timeout`.
    max_outgoing: usize = 1_024, "exchanges", "own exchanges open at once", COUNT;
    /// The time from accepting a connection to its complete header of eight bytes. Default 10 s;
    /// single bytes do not renew it.
    header_timeout: Duration = Duration::from_secs(10), "", "accept to complete header", TIME;
    /// The time from the header to the complete data of a frame that is buffered whole. Default
    /// 30 s, and one second more for each 64 KiB above 1 MiB.
    body_timeout: Duration = Duration::from_secs(30), "", "header to complete data", TIME;
    /// The time without a byte of progress while a body is streamed in, or while anything is
    /// written. Default 30 s.
    ///
    /// A slow reader is served to the end: only a stall counts.
    stall_timeout: Duration = Duration::from_secs(30), "", "no progress in streaming or writing", TIME;
    /// The time from the delivery of a request to its handler to the reply. Default 30 s. For a
    /// reply that is a stream: from one frame to the next.
    handler_timeout: Duration = Duration::from_secs(30), "", "handler's time for a reply", TIME;
    /// The time of a whole exchange that this node answers, from its header to the last byte of the
    /// reply, whatever its progress. Default 86,400 s: a slow reader has a day. On a link it starts
    /// when the message has its permit.
    ///
    /// Trade-off: a peer that reads a byte now and then keeps a permit of the handler for this
    /// time.
    exchange_timeout: Duration = Duration::from_secs(86_400), "", "a whole exchange, however it moves", TIME;
    /// The time to open an outgoing connection, including the wait for a permit. Default 5 s.
    connect_timeout: Duration = Duration::from_secs(5), "", "opening a connection", TIME;
    /// How long a caller waits for the first byte of the replies, and then without progress.
    /// Default 35 s: more than the `handler_timeout` of the other side, so that its refusal
    /// arrives.
    reply_timeout: Duration = Duration::from_secs(35), "", "wait for the next part of a reply", TIME;
    /// Links that are open at once and that this node uses to reach others. Default 256.
    ///
    /// For a new link, the least recently used idle link is closed. If no link is idle, messages
    /// take classic exchanges. A link that is being closed counts until it has ended; the new one
    /// is dialled after that, at most 2 s later if nothing is open on the old one. Links that
    /// others open count as connections, too.
    ///
    /// Trade-off: an idle link takes up to 16 KiB.
    max_links: usize = 256, "links", "links open at once", COUNT;
    /// Requests that another node may have open on one link. Default 64, as many as one code has
    /// permits; a further one waits at its sender.
    max_link_requests: u32 = 64, "requests", "open requests of the other side, each link", NUMBER;
    /// The window of a link: bytes of one-way messages and requests that have arrived and that
    /// handlers have not released. Default 2 MiB; the window is at least twice `max_frame_len`.
    ///
    /// A sender that has used the window waits.
    ///
    /// Trade-off: each link may use that much memory.
    link_window: u32 = 2 << 20, "bytes", "unhandled data of one link", LENGTH;
    /// How long a link may be idle, with nothing open and nothing sent, before it is closed.
    /// Default 60 s.
    link_idle_timeout: Duration = Duration::from_secs(60), "", "a link without use, then closed", TIME;
    /// The interval of keepalives on a link. Default 5 s; the link ends after three without an
    /// answer or any other data.
    keep_alive: Duration = Duration::from_secs(5), "", "between two signs of life on a link", TIME;
    /// Messages to one peer that wait to be acknowledged
    /// ([`Peer::send_reliable`](crate::Peer::send_reliable)). Default 1,024. A further one waits,
    /// or is refused as [`ReliableError::Full`](crate::reliable::ReliableError::Full).
    ///
    /// The other node remembers 4,096 messages. The oldest waiting message is never farther behind
    /// than that, whatever is set here.
    ///
    /// Trade-off: a higher value takes more memory.
    reliable_messages: usize = 1_024, "messages", "unacknowledged messages, each peer", COUNT;
    /// Bytes of data of messages to one peer that wait to be acknowledged. Default 4 MiB; one
    /// message of any length is accepted if no other waits.
    reliable_bytes: usize = 4 << 20, "bytes", "unacknowledged data, each peer", BYTES;
    /// How long a message waits to be acknowledged, over any number of links, before it fails as
    /// not sent or as unknown. Default 300 s, at most 540 s: the other node remembers it for 600 s.
    reliable_timeout: Duration = Duration::from_secs(300), "", "wait for an acknowledgement", *TIME.start()..=RELIABLE_TIMEOUT;
    /// How long the node remembers that a peer speaks no links. Default 600 s.
    classic_memory: Duration = Duration::from_secs(600), "", "remembering that a peer has no links", TIME;
    /// How long `stop` waits for running exchanges before it aborts them. Default 10 s.
    drain_timeout: Duration = Duration::from_secs(10), "", "finishing what runs at stop", TIME;
    /// The hop limit of a routed message, which counts each send by its origin and by the nodes in
    /// between. Default 8, so that seven nodes may be in between; at most 255. It also applies to
    /// messages of other origins, whatever limit they carry.
    max_hops: u32 = 8, "hops", "nodes that a routed message may pass", 1..=255;
    /// Messages of other nodes that this node forwards per second for one source, on average, with
    /// bursts of twice as many. Default 1,000. A further one fails at its origin with
    /// [`RouteReason::Busy`](crate::overlay::RouteReason::Busy). Does not apply to loopback, unless
    /// [`limit_loopback`](Self::limit_loopback) is set.
    ///
    /// Trade-off: with a higher value a neighbour can make this node send more traffic.
    max_forwards_per_source: u32 = 1_000, "messages/s", "messages passed on for others, each source address", PACE;
    /// Events that a slow [`Events`](crate::Events) stream may lag behind before it loses some.
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

    /// The time-out for the data of a frame with `len` bytes that is buffered whole.
    pub(crate) fn body_deadline(&self, len: u32) -> Duration {
        let steps = len.saturating_sub(1 << 20).div_ceil(64 << 10);
        self.body_timeout.saturating_add(Duration::from_secs(u64::from(steps)))
    }
}
