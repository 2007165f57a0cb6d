//! The named limits and time-outs of a node.

mod macros;
mod presets;
mod written;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::macros::options;
use crate::{
    link::REMEMBERED_FOR,
    overlay::{
        ForwardPolicy, JoinPolicy, QuitPolicy, Shares,
        options::{
            ANY, BYTES, COUNT, COUNT_OR_NONE, ConfigError, LENGTH, NUMBER, Options, PACE, Setting,
            TIME, settings,
        },
    },
};

/// The maximum of [`Config::reliable_timeout`]: the sender gives a message up one minute before its
/// receiver may have forgotten it.
const RELIABLE_TIMEOUT: Duration = REMEMBERED_FOR.saturating_sub(Duration::from_secs(60));

/// The longest ban in units of the first one: one hour by default. A ban that doubles without a
/// limit would lock out later users of a dynamic address.
const LONGEST_BAN: u32 = 60;

/// The dials of one unverified address per minute at any pace of dials: the questions that verify a
/// node that joins.
const LEAST_DIALS: u32 = 3;

/// The most dials of one unverified address per minute, each of which is remembered for a minute.
const MOST_DIALS: u32 = 10_000;

/// The longest answer to a question of the framework itself (`NAME`, `LIST`, `JOIN`, `QUIT` and
/// `PING`), in bytes of all reply frames, headers included, unless the table is large: a `LIST` of
/// some 700 peers with proven ids. No budget applies to this length, so a higher value would let
/// the nodes that are asked use more memory.
const LEAST_CONTROL_REPLY: usize = 64 << 10;

/// The bytes of one peer in a `LIST`, headers included: a proven id with an IPv6 address has 118.
const LISTED_PEER: usize = 128;

/// The peers in the longest `LIST` that a node accepts whose own table has no limit.
const LISTED_WITHOUT_LIMIT: usize = 8_192;

/// One option as [`Config::entries`] lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// The group of the option: see [`Config`].
    pub group: &'static str,
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

options! {
    /// Every limit, time-out and policy of a node. The defaults suit a network of untrusted peers.
    ///
    /// [`local`](Self::local), [`cluster`](Self::cluster) and [`internet`](Self::internet) are
    /// presets.
    ///
    /// The setters do not check their values. The node checks them when it starts: a value out of
    /// bounds is a [`ConfigError`].
    ///
    /// | kind of option | bounds |
    /// |---|---|
    /// | a time | 1 ms to 365 days; `reliable_timeout` at most 540 s |
    /// | a number of things | 1 to 1,048,576; `max_hops` at most 255 |
    /// | a length of messages | at most 1 GiB |
    /// | a sum of bytes | at most 1 TiB (1 GiB where addresses have 32 bits) |
    /// | a rate | at most 1,000,000,000 per second |
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
    ///
    /// # In a file or in the environment
    ///
    /// An application can read a configuration with any format of serde. Options that are absent
    /// keep their defaults, unknown ones are an error, and a time is text with a unit, as in
    /// `"10s"` or `"250ms"`.
    ///
    /// The serialised form is flat: the groups are not part of it. An option therefore has one name
    /// in the code, in a file, in an environment variable (`MAX_LINKS=64`) and in errors, and that
    /// name does not change if the option moves to another group.
    Config;

    /// # Connections
    ///
    /// A connection that is over a limit of accepted connections receives an `ERRO` (busy) and is
    /// closed. An outgoing one waits. The two kinds have separate limits, so that strangers cannot
    /// keep the node from reaching its peers.
    "connections", "connections that others open with this node, and that it opens itself"
    {
        /// Accepted connections that are open at once, including silent ones. Default 1,024.
        ///
        /// A further connection receives an `ERRO` (busy) and is closed. If the process may not
        /// open that many file descriptors, the node lowers the value at its start, with a warning,
        /// so that 64 descriptors are left.
        ///
        /// Trade-off: a silent connection takes about 2 KiB and one file descriptor.
        max_connections: usize = 1_024, "connections", "accepted connections open at once", COUNT;
        /// Accepted connections that are open at once from one source: an IPv4 address, or the /64
        /// of an IPv6 address. Default 64. Does not apply to loopback, unless
        /// [`limit_loopback`](Self::limit_loopback) is set.
        ///
        /// A further connection receives an `ERRO` (busy) and is closed. A network with many nodes
        /// behind one address needs a higher value.
        ///
        /// Trade-off: with a higher value one source can take more of `max_connections`.
        max_connections_per_source: usize = 64, "connections", "accepted connections, each source address", COUNT;
        /// Accepted connections at once whose header is not complete. Default 512.
        ///
        /// If there are more, the node closes the oldest connection of the source that has the most
        /// of them, not the new one.
        ///
        /// Trade-off: each takes about 2 KiB and one file descriptor.
        max_half_open: usize = 512, "connections", "accepted connections without a complete header", COUNT;
        /// Classic exchanges that this node has open at once. Default 1,024; a further one waits, at
        /// most `connect_timeout`. At most 32 connections are being opened at once.
        ///
        /// Exchanges over links need no connection of their own. The other node limits them with
        /// its `max_link_requests`.
        max_outgoing: usize = 1_024, "exchanges", "own classic exchanges open at once", COUNT;
        /// Dials of unverified addresses per second, on average: those of peers that joined and are
        /// not verified, and of peers that others listed. Default 32; a further one waits.
        ///
        /// One address is dialled at most a tenth of this number per minute, at least 3 and at most
        /// 10,000, until it has answered as expected. Dials that the application asks for, and
        /// dials of verified peers, are not limited.
        ///
        /// Trade-off: with a higher value, joining and listing nodes can make this node send more
        /// connections to addresses of their choice.
        max_unverified_dials: u32 = 32, "dials/s", "dials of unverified addresses", PACE;
    }
    {}
    /// # Links
    ///
    /// A link is one persistent connection with another node ([protocol](crate::protocol#links)).
    /// Messages over it have their own back-pressure: the window and the number of open requests.
    "links", "persistent connections, each for many messages"
    {
        /// Links that are open at once and that this node uses to reach others. Default 256.
        ///
        /// For a new link, the least recently used idle link is closed. If no link is idle,
        /// messages take classic exchanges. A link that is being closed counts until it has ended;
        /// the new one is dialled after that, at most 2 s later if nothing is open on the old one.
        /// Links that others open count as connections, too.
        ///
        /// Trade-off: an idle link takes up to 16 KiB.
        max_links: usize = 256, "links", "links open at once", COUNT;
        /// Requests that another node may have open on one link. Default 64, as many as one code
        /// has permits; a further one waits at its sender.
        max_link_requests: u32 = 64, "requests", "open requests of the other node, each link", NUMBER;
        /// The window of a link: bytes of one-way messages and requests that have arrived and that
        /// handlers have not released. Default 2 MiB; the window is at least twice `max_frame_len`.
        ///
        /// A sender that has used the window waits.
        ///
        /// Trade-off: each link may use that much memory.
        link_window: u32 = 2 << 20, "bytes", "data of one link that handlers have not released", LENGTH;
        /// How long a link may be idle, with nothing open and nothing sent, before it is closed.
        /// Default 60 s.
        link_idle_timeout: Duration = Duration::from_secs(60), "", "idle time before a link is closed", TIME;
        /// The interval of keepalives on a link. Default 5 s; the link ends after three without an
        /// answer or any other data.
        keep_alive: Duration = Duration::from_secs(5), "", "interval of keepalives on a link", TIME;
    }
    {
        /// Whether this node speaks links ([protocol](crate::protocol#links)). Default true.
        ///
        /// If false, every message has a connection of its own, as in the original framework, and a
        /// request for a link is answered like a request with an unknown code.
        links: bool = true;
    }
    /// # Messages and memory
    ///
    /// These limits bound what one message, one handler and the whole node hold in memory. A single
    /// code has a length of its own with [`Builder::max_len`](crate::Builder::max_len).
    "messages and memory", "lengths of messages, memory for them, and requests in handlers"
    {
        /// The longest frame that is buffered whole, in bytes of data: requests for ordinary
        /// handlers and reply frames. Default 1 MiB.
        ///
        /// Longer data needs a streaming handler
        /// ([`Builder::handle_stream`](crate::Builder::handle_stream)), to which this limit does
        /// not apply.
        ///
        /// Trade-off: each connection may hold that much memory.
        max_frame_len: u32 = 1 << 20, "bytes", "data of a frame that is buffered whole", LENGTH;
        /// The memory of all connections for incomplete frames, in bytes. Default 64 MiB.
        ///
        /// It is taken in steps of 64 KiB as bytes arrive, never for an announced length. Frames up
        /// to 4 KiB are exempt, so that small frames keep flowing. In addition, each link holds one
        /// frame of up to 64 KiB. A frame that is buffered whole is never longer than this.
        ///
        /// When the memory is used up, the node stops to read a frame until there is room or its
        /// time is up (`body_timeout`). A message that arrives over a link in several frames is
        /// refused as busy.
        ///
        /// Trade-off: strangers can use all of this memory.
        max_partial_bytes: usize = 64 << 20, "bytes", "incomplete frames of all connections", BYTES;
        /// The memory of all requests of this node for incomplete replies, in bytes: incomplete
        /// frames, and frames gathered by [`Replies::collect`](crate::Replies::collect). Default 64
        /// MiB.
        ///
        /// It is taken in steps of 64 KiB as bytes arrive. The first 64 KiB of a frame and of a
        /// collection are exempt, so that short replies keep flowing. In addition, each open
        /// request holds what it has not read: 64 KiB, on a link up to 256 KiB.
        ///
        /// A request whose replies find no room ends with
        /// [`RequestError::NoRoom`](crate::RequestError::NoRoom).
        ///
        /// Trade-off: the nodes that answer can use all of this memory.
        max_partial_replies: usize = 64 << 20, "bytes", "incomplete replies to all own requests", BYTES;
        /// The maximum number of bytes that [`Replies::collect`](crate::Replies::collect) gathers.
        /// Default 16 MiB.
        max_collected: usize = 16 << 20, "bytes", "data that one call of `collect` gathers", BYTES;
        /// Requests that handlers process at once, in the whole node. Default 1,024.
        max_requests: usize = 1_024, "requests", "requests in handlers at once, all codes", COUNT;
        /// Requests that handlers process at once, for each code. Default 64: a slow handler takes
        /// no more than its own share.
        max_requests_per_code: usize = 64, "requests", "requests in handlers at once, each code", COUNT;
        /// How long a request waits for a permit before it is refused as busy. Default 50 ms. Over
        /// a link it includes the wait behind earlier messages for the same actor.
        busy_after: Duration = Duration::from_millis(50), "", "wait for a permit before a request is refused as busy", TIME;
    }
    {}
    /// # Rates and bans
    ///
    /// Rates are averages per second for one source: an IPv4 address, or the /64 of an IPv6
    /// address. A ban ends by itself. [`Peer::ban`](crate::Peer::ban) and
    /// [`Peer::unban`](crate::Peer::unban) ban and unban by hand.
    "rates and bans", "what one source may do per second, and what happens beyond a limit"
    {
        /// Connections accepted from one source per second, on average, with bursts of twice as
        /// many. Default 200. Further ones are closed without an answer. Does not apply to
        /// loopback, unless [`limit_loopback`](Self::limit_loopback) is set.
        max_accepts_per_source: u32 = 200, "connections/s", "new connections, each source address", PACE;
        /// Frames from one source per second, on average, over all its connections and links, with
        /// bursts of twice as many. Default 1,000,000. Does not apply to loopback, unless
        /// [`limit_loopback`](Self::limit_loopback) is set.
        ///
        /// Beyond this rate a classic request is refused as busy. A link is not read until the rate
        /// permits it, so that its sender waits; that is not an error.
        ///
        /// Trade-off: with a higher value one source can use more of a core; a lower value slows
        /// down a busy honest peer.
        max_frames_per_source: u32 = 1_000_000, "frames/s", "frames, each source address", PACE;
        /// Bytes from one source per second, on average, enforced as
        /// [`max_frames_per_source`](Self::max_frames_per_source). Default 256 MiB: twice the rate
        /// of gigabit Ethernet. A faster trusted network needs more.
        max_bytes_per_source: u32 = 256 << 20, "bytes/s", "bytes, each source address", ANY;
        /// The points for misbehavior at which a source, or a proven id, is banned. Default 100;
        /// `u32::MAX` disables bans. [`Misbehavior`](crate::limits::Misbehavior) lists the points,
        /// which are halved every 60 s.
        ///
        /// Connections of a banned source are closed when they are accepted, without an answer, and
        /// its links are closed. Does not apply to loopback, unless
        /// [`limit_loopback`](Self::limit_loopback) is set.
        ban_at: u32 = 100, "points", "points that cause a ban, each source address or proven id", ANY;
        /// The duration of the first ban. Default 60 s. Each further ban is twice as long, at most
        /// 60 times this time: one hour by default. The last ban is remembered for the duration of
        /// the longest one.
        ///
        /// Trade-off: the ban also affects the next user of the address.
        ban_time: Duration = Duration::from_secs(60), "", "the first ban", TIME;
    }
    {
        /// Whether the limits per source address apply to loopback as well: concurrent connections,
        /// new connections per second, frames, bytes, forwarded messages, points and bans, Kademlia
        /// records.
        ///
        /// Default false: none of them applies. A program that can connect from loopback can do
        /// more harm by other means, and all nodes of a demonstration share one address.
        ///
        /// The shares of the peer table never apply to loopback. With TLS a source has a share of
        /// the handshakes as well (`TlsTransport::limit_loopback`).
        limit_loopback: bool = false;
        /// Whether the node explains a refusal with one `ERRO` frame. Default true.
        ///
        /// If false, the connection is closed without an answer, as the original programs do.
        explain_refusals: bool = true;
    }
    /// # Peer table
    ///
    /// These options bound the table of known peers, and say which nodes may change it.
    "peer table", "the known peers, and who may change the table"
    {
        /// The maximum number of peers in the table. Default 128; 0 means no limit.
        ///
        /// It also bounds the `LIST` of another node that this node accepts: about 700 peers, or as
        /// many as its own table may hold if that is more (8,000 if there is no limit). A longer
        /// answer counts as a failed one.
        ///
        /// Trade-off: each peer takes about 200 bytes, and one ping in a sweep.
        max_peers: usize = 128, "peers", "known peers in the table; 0 = no limit", COUNT_OR_NONE;
    }
    {
        /// Whether one party can take only its share of the table: peers at one address, in one
        /// network, listed by one peer, not verified, or joined recently. Default true;
        /// [`Shares`] has the numbers.
        ///
        /// The shares apply to peers that join and to peers that others list. They do not apply on
        /// loopback, nor to peers that the application adds.
        ///
        /// Trade-off: if false, one address can fill the table, and control what this node learns
        /// about the network. For trusted networks, and for many nodes behind one address.
        table_shares: bool = true;
        /// Which peers a `JOIN` adds to the table. Default [`JoinPolicy::Verified`]: peers that
        /// answer at the address that they give. Trade-off: see [`JoinPolicy`] for weaker policies.
        join_policy: JoinPolicy = JoinPolicy::Verified;
        /// Which peers a `QUIT` removes from the table. Default [`QuitPolicy::Own`]: only its
        /// sender.
        quit_policy: QuitPolicy = QuitPolicy::Own;
    }
    /// # Times
    ///
    /// Each step of a connection and of an exchange has a time-out. The times of links and of
    /// reliable messages are in their groups.
    "times", "the steps of a connection and of an exchange, and the end of the node"
    {
        /// The time to open an outgoing connection, including the wait for a permit. Default 5 s.
        connect_timeout: Duration = Duration::from_secs(5), "", "opening a connection", TIME;
        /// The time from accepting a connection to its complete header of eight bytes. Default 10
        /// s; single bytes do not renew it.
        header_timeout: Duration = Duration::from_secs(10), "", "from accepting a connection to its complete header", TIME;
        /// The time from the header to the complete data of a frame that is buffered whole. Default
        /// 30 s, and one second more for each 64 KiB above 1 MiB.
        body_timeout: Duration = Duration::from_secs(30), "", "from the header to the complete data of a frame", TIME;
        /// The time without a byte of progress while a body is streamed in, or while anything is
        /// written. Default 30 s.
        ///
        /// A slow reader is served to the end: only a stall counts.
        stall_timeout: Duration = Duration::from_secs(30), "", "without progress in streaming or writing", TIME;
        /// The time from the delivery of a request to its handler to the reply. Default 30 s. For a
        /// reply that is a stream: from one frame to the next.
        handler_timeout: Duration = Duration::from_secs(30), "", "from the delivery to a handler to its reply", TIME;
        /// How long a caller waits for the first byte of the replies, and then without progress.
        /// Default 35 s: more than the `handler_timeout` of the other side, so that its refusal
        /// arrives.
        reply_timeout: Duration = Duration::from_secs(35), "", "wait for the next part of a reply", TIME;
        /// The time of a whole exchange that this node answers, from its header to the last byte of
        /// the reply, whatever its progress. Default 86,400 s: a slow reader has a day. On a link
        /// it starts when the message has its permit.
        ///
        /// Trade-off: a peer that reads a byte now and then keeps a permit of the handler for this
        /// time. A lower value is a defence against such peers, and ends long transfers.
        exchange_timeout: Duration = Duration::from_secs(86_400), "", "a whole exchange, whatever its progress", TIME;
        /// How long `stop` waits for running exchanges before it aborts them. Default 10 s.
        drain_timeout: Duration = Duration::from_secs(10), "", "finishing running exchanges at stop", TIME;
    }
    {
        /// Whether `stop` sends `QUIT` to the peers in the table and to every peer that has a link
        /// with the node. Default true.
        leave_on_stop: bool = true;
    }
    /// # Reliable messages
    ///
    /// These options bound what the sender keeps for each peer
    /// ([`Peer::send_reliable`](crate::Peer::send_reliable)).
    "reliable messages", "messages that are kept until they are acknowledged"
    {
        /// Messages to one peer that wait to be acknowledged
        /// ([`Peer::send_reliable`](crate::Peer::send_reliable)). Default 1,024. A further one
        /// waits, or is refused as [`ReliableError::Full`](crate::reliable::ReliableError::Full).
        ///
        /// The other node remembers 4,096 messages. The oldest waiting message is never farther
        /// behind than that, whatever is set here.
        ///
        /// Trade-off: a higher value takes more memory.
        reliable_messages: usize = 1_024, "messages", "unacknowledged messages, each peer", COUNT;
        /// Bytes of data of messages to one peer that wait to be acknowledged. Default 4 MiB; one
        /// message of any length is accepted if no other waits.
        reliable_bytes: usize = 4 << 20, "bytes", "unacknowledged data, each peer", BYTES;
        /// How long a message waits to be acknowledged, over any number of links, before it fails
        /// as not sent or as unknown. Default 300 s, at most 540 s: the other node remembers it for
        /// 600 s.
        reliable_timeout: Duration = Duration::from_secs(300), "", "wait for an acknowledgement", *TIME.start()..=RELIABLE_TIMEOUT;
    }
    {}
    /// # Routing
    ///
    /// These options bound the messages that this node forwards to others
    /// ([`Peer::route`](crate::Peer::route)).
    "routing", "messages that nodes forward to others"
    {
        /// The hop limit of a routed message, which counts each send by its origin and by the nodes
        /// in between. Default 8, so that seven nodes may be in between; at most 255. It also
        /// applies to messages of other origins, whatever limit they carry.
        max_hops: u32 = 8, "hops", "sends of one routed message", 1..=255;
        /// Messages of other nodes that this node forwards per second for one source, on average,
        /// with bursts of twice as many. Default 1,000. A further one fails at its origin with
        /// [`RouteReason::Busy`](crate::overlay::RouteReason::Busy). Does not apply to loopback,
        /// unless [`limit_loopback`](Self::limit_loopback) is set.
        ///
        /// Trade-off: with a higher value a neighbour can make this node send more traffic.
        max_forwards_per_source: u32 = 1_000, "messages/s", "messages forwarded for others, each source address", PACE;
    }
    {
        /// For which peers this node forwards routed messages. Default [`ForwardPolicy::Everyone`].
        forward: ForwardPolicy = ForwardPolicy::Everyone;
    }
}

impl Config {
    /// Every limit and time-out with its group, value and bounds, for example for a status page.
    #[must_use]
    pub fn entries(&self) -> Vec<ConfigEntry> {
        let mut options = self.clone();
        let entry = |(setting, (group, about)): (Setting<'_>, &(&'static str, &'static str))| {
            let (value, least, greatest) = setting.show();
            ConfigEntry { group, option: setting.option, value, about, least, greatest }
        };
        options.settings().into_iter().zip(MEANINGS).map(entry).collect()
    }

    /// Checks that every option is within its bounds.
    ///
    /// # Errors
    /// The first option that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_all()
    }

    /// The shares of the table.
    pub(crate) fn shares(&self) -> Shares {
        if self.table_shares { Shares::default() } else { Shares::NONE }
    }

    /// The longest answer to a question of the framework itself, in bytes of all reply frames.
    pub(crate) fn control_reply(&self) -> usize {
        let peers = if self.max_peers == 0 { LISTED_WITHOUT_LIMIT } else { self.max_peers };
        peers.saturating_mul(LISTED_PEER).max(LEAST_CONTROL_REPLY)
    }

    /// The longest ban.
    pub(crate) fn longest_ban(&self) -> Duration {
        self.ban_time.saturating_mul(LONGEST_BAN).min(*TIME.end())
    }

    /// The maximum number of dials of one unverified address per minute.
    pub(crate) fn dials_per_unverified(&self) -> u32 {
        (self.max_unverified_dials / 10).clamp(LEAST_DIALS, MOST_DIALS)
    }

    /// The time-out for the data of a frame with `len` bytes that is buffered whole.
    pub(crate) fn body_deadline(&self, len: u32) -> Duration {
        let steps = len.saturating_sub(1 << 20).div_ceil(64 << 10);
        self.body_timeout.saturating_add(Duration::from_secs(u64::from(steps)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_limits_have_the_documented_values() {
        let config = Config::default();
        assert_eq!(config.shares(), Shares::default());
        assert_eq!(config.control_reply(), 64 << 10);
        assert_eq!(config.longest_ban(), Duration::from_secs(3_600));
        assert_eq!(config.dials_per_unverified(), 3);
        let no_limit = config.max_peers(0).table_shares(false);
        assert_eq!((no_limit.control_reply(), no_limit.shares()), (1 << 20, Shares::NONE));
        assert_eq!(no_limit.max_peers(1_000).control_reply(), 128_000);
        let longest = Config::default().ban_time(*TIME.end()).longest_ban();
        assert_eq!(longest, *TIME.end());
        for (pace, each) in [(1, 3), (1_000, 100), (u32::MAX, 10_000)] {
            assert_eq!(Config::default().max_unverified_dials(pace).dials_per_unverified(), each);
        }
    }

    #[test]
    fn an_error_names_the_option_its_value_and_both_bounds() {
        let error = |config: Config| config.validate().unwrap_err().to_string();
        assert_eq!(
            error(Config::default().max_links(0)),
            "option `max_links` is 0 links: set it to at least 1 links and at most 1048576 links"
        );
        assert_eq!(
            error(Config::default().keep_alive(Duration::MAX)).split_once(": ").unwrap().1,
            "set it to at least 1 ms and at most 31536000 s"
        );
    }
}
