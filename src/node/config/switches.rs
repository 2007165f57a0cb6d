//! The options that are no limit and no time: whom a node believes and what it speaks.

use crate::{
    node::config::Config,
    overlay::{ForwardPolicy, JoinPolicy, QuitPolicy},
};

impl Config {
    /// The most peers that the table holds. Default 128; 0 means no limit.
    ///
    /// The price of more: about 200 bytes each, and one ping each in a sweep.
    #[must_use]
    pub const fn max_peers(mut self, peers: usize) -> Self {
        self.max_peers = peers;
        self
    }

    /// Whom a `JOIN` adds to the table. Default [`JoinPolicy::Verified`]: who is where it says, and
    /// answers there. The price of less is in [`JoinPolicy`].
    #[must_use]
    pub const fn join_policy(mut self, policy: JoinPolicy) -> Self {
        self.join_policy = policy;
        self
    }

    /// Whom a `QUIT` takes out of the table. Default [`QuitPolicy::Own`]: nobody but its sender.
    #[must_use]
    pub const fn quit_policy(mut self, policy: QuitPolicy) -> Self {
        self.quit_policy = policy;
        self
    }

    /// For whom this node passes routed messages on. Default [`ForwardPolicy::Everyone`].
    #[must_use]
    pub const fn forward(mut self, policy: ForwardPolicy) -> Self {
        self.forward = policy;
        self
    }

    /// Whether this node speaks links ([protocol](crate::protocol#links)). Default true.
    ///
    /// With false every message has a connection of its own, as in the original framework, and who
    /// asks for a link is answered like who asks with any unknown code.
    #[must_use]
    pub const fn links(mut self, links: bool) -> Self {
        self.links = links;
        self
    }

    /// Whether what is limited for each source address is limited for loopback, too: connections at
    /// once and in a second, frames, bytes, messages passed on, points and bans, records of Kademlia.
    /// Default false: none of them is, as who can connect from there can do worse, and all nodes of a
    /// demonstration are one address.
    ///
    /// The shares of the peer table never hold for loopback. With TLS a source has a share of the
    /// handshakes as well (`TlsTransport::limit_loopback`).
    #[must_use]
    pub const fn limit_loopback(mut self, limit: bool) -> Self {
        self.limit_loopback = limit;
        self
    }

    /// Whether a refusal is explained by one `ERRO` frame. Default true.
    ///
    /// With false the connection is closed without a word, as the original programs do.
    #[must_use]
    pub const fn explain_refusals(mut self, explain: bool) -> Self {
        self.explain_refusals = explain;
        self
    }

    /// Whether `stop` says `QUIT` to the peers in the table and to those that have a link with the
    /// node, whatever brought them. Default true.
    #[must_use]
    pub const fn leave_on_stop(mut self, leave: bool) -> Self {
        self.leave_on_stop = leave;
        self
    }
}
