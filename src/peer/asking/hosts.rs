//! Where hosts are: their addresses and scopes, and the claims of peers to be there.

use indexmap::IndexMap;

use crate::{
    message::{Sender, Via},
    overlay::{Address, Claim, Host, Scope},
    session::Endpoint,
};

/// The addresses of hosts that other nodes named, resolved once each. It lasts as long as one walk
/// or look-up, so it holds at most as many hosts as that asks.
#[derive(Debug, Default)]
pub(crate) struct ResolvedHosts(IndexMap<Host, Vec<Host>>);

impl ResolvedHosts {
    pub(crate) async fn of(&mut self, node: &Endpoint, host: &Host) -> &[Host] {
        if !self.0.contains_key(host) {
            let means = node.look_up(host).await.unwrap_or_default();
            self.0.insert(host.clone(), means);
        }
        self.0.get(host).map_or(&[], Vec::as_slice)
    }

    /// The narrowest and the widest scope of a host; `None` if the host has no address.
    async fn scopes(&mut self, node: &Endpoint, host: &Host) -> Option<(Scope, Scope)> {
        let here = |host: &Host| {
            if node.transport.is_here(host) { Some(Scope::Machine) } else { Scope::of(host) }
        };
        let means = self.of(node, host).await;
        let scopes: Option<Vec<_>> = means.iter().map(here).collect();
        let scopes = scopes?;
        Some((*scopes.iter().min()?, *scopes.iter().max()?))
    }

    /// Whether other nodes can be at the host: it has addresses, and each of them can be dialled.
    pub(crate) async fn has_place(&mut self, node: &Endpoint, host: &Host) -> bool {
        self.scopes(node, host).await.is_some()
    }

    /// Whether the node may dial `to`, an address from a list that `by` sent.
    pub(crate) async fn may_go(&mut self, node: &Endpoint, to: &Address, by: &Address) -> bool {
        let by = self.scopes(node, by.host()).await;
        let to = self.scopes(node, to.host()).await;
        by.zip(to).is_some_and(|((_, by), (to, _))| by.may_name(to))
    }
}

/// The addresses of this node, under any name of its host.
#[derive(Clone, Debug)]
pub(crate) struct OwnAddresses {
    me: Address,
    means: Vec<Host>,
}

impl OwnAddresses {
    pub(crate) async fn of(node: &Endpoint) -> Self {
        let me = node.me.address().clone();
        let means = node.look_up(me.host()).await.unwrap_or_default();
        Self { me, means }
    }

    pub(crate) fn is_own(&self, node: &Endpoint, at: &Address) -> bool {
        let is_host = *at.host() == *self.me.host()
            || self.means.contains(at.host())
            || node.transport.is_here(at.host());
        at.port() == self.me.port() && is_host
    }
}

/// The scope of a host that has connected to this node.
pub(crate) fn scope_of(node: &Endpoint, host: &Host) -> Scope {
    let here = node.transport.is_here(host).then_some(Scope::Machine);
    here.or_else(|| Scope::of(host)).unwrap_or(Scope::World)
}

/// The host that a sender's connection comes from; `None` for a message that another node passed
/// on.
pub(crate) fn source(sender: &Sender) -> Option<&Host> {
    match sender.via() {
        Via::Classic | Via::Link => Some(sender.address().host()),
        Via::Routed { .. } | Via::Broadcast { .. } => None,
    }
}

/// Whether `holds` accepts the claim of the sender to be at `host`.
pub(crate) async fn claims(
    node: &Endpoint,
    sender: &Sender,
    host: &Host,
    holds: impl FnOnce(&Claim<'_>) -> bool,
) -> bool {
    let Some(source) = source(sender) else { return false };
    let means = node.look_up(host).await.unwrap_or_default();
    holds(&Claim {
        host,
        means: &means,
        here: node.transport.is_here(host),
        source,
        source_here: node.transport.is_here(source),
    })
}
