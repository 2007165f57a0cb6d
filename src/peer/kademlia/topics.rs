//! Topics of the broadcast as names in Kademlia: the nodes of a topic provide it, and one that is
//! alone asks for the providers.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Dht, lock};
use crate::{
    overlay::kademlia::Key,
    peer::gossip::{Part, takes_part},
    session::Endpoint,
    time::doubled,
};

/// The first pause before a node that is alone in its topic asks again, and that before it looks
/// whether it still takes part.
const FIRST: Duration = Duration::from_secs(10);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);

/// Announces that a node takes part in a topic, until it no longer does, and looks for others while
/// it has none. Does nothing without Kademlia.
pub(crate) fn provide_topic(node: &Arc<Endpoint>, part: &Arc<Part>) {
    let Some(dht) = Dht::of(node) else { return };
    let (of, part) = (Arc::clone(node), Arc::downgrade(part));
    let providing = node.until_drain(async move { provide(&of, &dht, part).await });
    node.spawn(providing);
}

async fn provide(node: &Arc<Endpoint>, dht: &Arc<Dht>, part: Weak<Part>) {
    let Some(name) = part.upgrade().map(|part| part.name().to_owned()) else { return };
    let key = Key::of_bytes(format!("topic {name}").as_bytes());
    dht.publish(node, key, Vec::new(), None).await.ok();
    let (mut lookups, mut pause, mut waited) = (0, Duration::ZERO, Duration::ZERO);
    while let Some(is_alone) = part.upgrade().map(|part| part.neighbors().is_empty()) {
        if !is_alone {
            (lookups, pause) = (0, FIRST);
        } else if waited >= pause {
            for peer in dht.providers(node, key).await {
                if let Some(part) = part.upgrade() {
                    part.meet(peer);
                }
            }
            (pause, waited) = (doubled(FIRST, lookups, LONGEST), Duration::ZERO);
            lookups = lookups.saturating_add(1);
        }
        tokio::time::sleep(FIRST).await;
        waited = waited.saturating_add(FIRST);
    }
    // It may have begun again.
    if !takes_part(node, &name) {
        lock(&dht.own).remove(&key);
    }
}
