//! The options that are neither a limit nor a time: policies and protocol switches.

use crate::{
    node::config::Config,
    overlay::{ForwardPolicy, JoinPolicy, QuitPolicy},
};

impl Config {
    /// The maximum number of peers in the table. Default 128; 0 means no limit.
    ///
    /// Trade-off: each peer takes about 200 bytes, and one ping in a sweep.
    #[must_use]
    pub const fn max_peers(mut self, peers: usize) -> Self {
        self.max_peers = peers;
        self
    }

    /// Which peers a `JOIN` adds to the table. Default [`JoinPolicy::Verified`]: peers that answer
    /// at the address that they give. Trade-off: see [`JoinPolicy`] for weaker policies.
    #[must_use]
    pub const fn join_policy(mut self, policy: JoinPolicy) -> Self {
        self.join_policy = policy;
        self
    }

    /// Which peers a `QUIT` removes from the table. Default [`QuitPolicy::Own`]: only its sender.
    #[must_use]
    pub const fn quit_policy(mut self, policy: QuitPolicy) -> Self {
        self.quit_policy = policy;
        self
    }

    /// For which peers this node forwards routed messages. Default [`ForwardPolicy::Everyone`].
    #[must_use]
    pub const fn forward(mut self, policy: ForwardPolicy) -> Self {
        self.forward = policy;
        self
    }

    /// Whether this node speaks links ([protocol](crate::protocol#links)). Default true.
    ///
    /// If false, every message has a connection of its own, as in the original framework, and a
    /// request for a link is answered like a request with an unknown code.
    #[must_use]
    pub const fn links(mut self, links: bool) -> Self {
        self.links = links;
        self
    }

    /// Whether the limits per source address apply to loopback as well: concurrent connections, new
    /// connections per second, frames, bytes, forwarded messages, points and bans, Kademlia
    /// records.
    ///
    /// Default false: none of them applies. A program that can connect from loopback can do more
    /// harm by other means, and all nodes of a demonstration share one address.
    ///
    /// The shares of the peer table never apply to loopback. With TLS a source has a share of the
    /// handshakes as well (`TlsTransport::limit_loopback`).
    #[must_use]
    pub const fn limit_loopback(mut self, limit: bool) -> Self {
        self.limit_loopback = limit;
        self
    }

    /// Whether the node explains a refusal with one `ERRO` frame. Default true.
    ///
    /// If false, the connection is closed without an answer, as the original programs do.
    #[must_use]
    pub const fn explain_refusals(mut self, explain: bool) -> Self {
        self.explain_refusals = explain;
        self
    }

    /// Whether `stop` sends `QUIT` to the peers in the table and to every peer that has a link with
    /// the node. Default true.
    #[must_use]
    pub const fn leave_on_stop(mut self, leave: bool) -> Self {
        self.leave_on_stop = leave;
        self
    }
}
