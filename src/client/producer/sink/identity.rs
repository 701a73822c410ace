//! Asks a broker for a producer id, on behalf of all queues of a producer.

use std::sync::Arc;

use crate::client::cluster::Cluster;
use crate::client::producer::queue::PartitionQueue;
use crate::client::producer::sequencer::Identity;
use crate::client::retry::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;
use crate::wire::messages::InitProducerIdRequest;

/// Has `queue` submitted again when its producer has an id; asks for one unless that is under way.
pub(super) fn obtain(cluster: &Cluster, queue: &Arc<PartitionQueue>) {
    let shared = queue.shared().clone();
    if !shared.identity.wait(queue) {
        return;
    }
    let (env, cluster) = (cluster.env().clone(), cluster.clone());
    // It ends with an answer, or when the producer is closed. Until then batches expire by their own limit.
    let _detached = env.clone().spawn(async move {
        let mut backoff = Backoff::new(cluster.config().retry_backoff);
        loop {
            let error = match ask(&cluster, shared.config.request_timeout).await {
                Ok(identity) => {
                    tracing::debug!(target: "dispatcher::client", ?identity, "producer id obtained");
                    return shared.identity.answer(Ok(identity));
                }
                Err(error) => error,
            };
            if error.is_refusal() && error.code() != Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED) {
                return shared.identity.give_up(&error);
            }
            if shared.is_closed() || !error.is_retriable() {
                return shared.identity.answer(Err(error));
            }
            tracing::debug!(target: "dispatcher::client", %error, "no producer id yet");
            let pause = env.random(|rng| backoff.next(rng));
            env.sleep(pause).await;
        }
    });
}

async fn ask(cluster: &Cluster, limit: std::time::Duration) -> Result<Identity> {
    let connection = cluster.any_connection().await?;
    let request = InitProducerIdRequest {
        transactional_id: None,
        // Only of interest to transactions.
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let response = connection.ask(&request, limit).await?;
    match response.error_code {
        ErrorCode::NONE => Ok(Identity { producer_id: response.producer_id, epoch: response.producer_epoch }),
        code @ ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            let error = Error::from_code(code, "InitProducerId");
            Err(error.wrap(
                ErrorKind::Auth,
                "the cluster does not allow this user to produce idempotently: grant IdempotentWrite on the cluster, \
                 or turn the option `idempotent` off",
            ))
        }
        code => Err(Error::from_code(code, "InitProducerId")),
    }
}
