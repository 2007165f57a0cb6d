//! Sends the stored messages of earlier incarnations of this node.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    fault_points::{Sometimes, reached},
    link::OnRestart,
    message::RequestError,
    overlay::{Address, PeerId},
    reliable::{
        Kept, Reliability, ReliableError,
        send_queues::QueuedMessage,
        send_task,
        sender::{Deadline, ReliableSender, delete, outcome, queue_for},
    },
};

/// The pause before stored messages that were not delivered are sent again.
const REPLAY_PAUSE: Duration = Duration::from_secs(1);

/// Sends the messages that earlier incarnations of this node stored, until they are acknowledged or
/// refused.
pub(crate) fn replay(sender: &Arc<ReliableSender>, kept: Vec<Kept>) {
    let mut by_peer: BTreeMap<(PeerId, Address), Vec<Kept>> = BTreeMap::new();
    for kept in kept {
        let to = (kept.to.id().clone(), kept.to.address().clone());
        by_peer.entry(to).or_default().push(kept);
    }
    for kept in by_peer.into_values() {
        reached(Sometimes::OutboxReplayed);
        let endpoint = &sender.endpoint;
        endpoint.spawn(endpoint.until_aborted(replay_to_one(Arc::clone(sender), kept)));
    }
}

async fn replay_to_one(sender: Arc<ReliableSender>, mut left: Vec<Kept>) {
    left.sort_by_key(Kept::id);
    loop {
        let mut receipts = Vec::new();
        for kept in left {
            let how = Reliability { level: kept.level, on_restart: OnRestart::Resend };
            let queued = push_again(&sender, &kept, how).await;
            receipts.push((kept, queued));
        }
        left = Vec::new();
        for (kept, queued) in receipts {
            let deadline = Deadline::of(&sender.endpoint);
            let ended = match queued {
                Ok(queued) => {
                    outcome(queued, deadline, kept.to.address(), kept.message.clone()).await
                }
                Err(error) => Err(ReliableError::NotSent(error)),
            };
            match ended {
                // It would be too long again.
                Err(ReliableError::NotSent(error @ RequestError::NotSendable(_))) => {
                    tracing::warn!(id = %kept.id, %error, "a stored message cannot be sent");
                    delete(&sender, kept.id).await;
                }
                Err(ReliableError::Unknown { .. } | ReliableError::NotSent(_)) => left.push(kept),
                ended => {
                    if let Err(error) = ended {
                        tracing::warn!(id = %kept.id, %error, "a stored message was refused");
                    }
                    delete(&sender, kept.id).await;
                }
            }
        }
        let pause = sender.endpoint.drain.run_until_cancelled(sleep(REPLAY_PAUSE));
        if left.is_empty() || pause.await.is_none() {
            return;
        }
        reached(Sometimes::OutboxReplayedAgain);
    }
}

async fn push_again(
    sender: &ReliableSender,
    kept: &Kept,
    how: Reliability,
) -> Result<QueuedMessage, RequestError> {
    let to = (kept.to.address(), Some(kept.to.id()));
    let queue = queue_for(sender, to, Instant::now()).await?;
    let limit = sender.endpoint.config.reliable_timeout;
    let push = send_task::push(&sender.endpoint, &queue, &kept.message, how);
    timeout(limit, push).await.map_err(|_| RequestError::NoCredit(limit))
}
