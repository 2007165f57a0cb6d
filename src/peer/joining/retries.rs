//! Background retries of joins that were answered with "not now".

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::LocalBoxFuture};
use tokio::time::sleep;

use super::{Came, come_back, contacts};
use crate::{
    fault_points::{Sometimes, reached},
    node::{JoinAgain, PeerEvent},
    overlay::JoinAnswer,
    peer::{
        NodeDown, Peers,
        maintenance::{Maintenance, NodeContext, back_off, run_jobs},
    },
    session::Endpoint,
};

/// The first pause. It doubles with each try, and jitter of up to the same length is added.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause, without the jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The number of tries in a row at which the contact was gone, after which it is given up.
const MAX_GONE: u32 = 10;

/// Retries the contacts of [`Joins`](crate::node::Joins), side by side.
pub(crate) struct JoinRetries;

impl Maintenance for JoinRetries {
    fn name(&self) -> &'static str {
        "join-retries"
    }

    fn run<'a>(&'a self, NodeContext { node, peers }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            node.joins.begin_again();
            let next = || async { Ok([node.joins.next().await]) };
            let run = |again: JoinAgain| async move {
                // A transport that panics ends the retries of this contact.
                let retry = AssertUnwindSafe(retry(node, peers, &again)).catch_unwind();
                again.ended.run_until_cancelled(retry).await;
                node.joins.over(&again);
            };
            run_jobs(next, run).await;
        })
    }
}

async fn retry(
    node: &Arc<Endpoint>,
    peers: &Peers,
    JoinAgain { contact, config, .. }: &JoinAgain,
) -> Result<(), NodeDown> {
    let mut gone = 0;
    for tries in 0.. {
        sleep(back_off(node, tries, (FIRST_PAUSE, LONGEST_PAUSE))).await;
        reached(Sometimes::JoinRetried);
        match come_back(node, peers, contact, (config.clone(), tries + 1)).await? {
            Came::In(report) => {
                reached(Sometimes::JoinRetrySucceeded);
                contacts::joined(peers, contact, config.clone()).await?;
                let added = report.added().len();
                node.emit(&PeerEvent::Joined { contact: contact.clone(), added });
                return Ok(());
            }
            Came::Itself => return Ok(()),
            Came::Not { cause, report } => {
                gone = if cause.answer() == JoinAnswer::Gone { gone + 1 } else { 0 };
                let never = cause.answer() == JoinAnswer::Never && !Came::is_not_now(&report);
                if never || gone >= MAX_GONE {
                    let (contact, why) = (contact.clone(), cause);
                    node.emit(&PeerEvent::NotJoined { contact, why, again: false });
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
