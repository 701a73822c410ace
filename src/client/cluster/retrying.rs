//! The one way to call with retries: until success, an error no retry can mend, or the limit.

use std::future::Future;
use std::time::Duration;

use super::core::Core;
use crate::client::retry::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;

/// Tries `attempt` again after retriable errors, with pauses; asks for metadata when the error says that leaders have
/// moved. Coordinator errors are the attempt's own business: it knows the group. As cancel-safe as `attempt`.
pub(super) async fn retrying<T, F>(
    core: &Core,
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let deadline = core.env.now() + limit;
    let mut backoff = Backoff::new(core.config.retry_backoff);
    let mut last: Option<Error> = None;
    loop {
        let left = deadline.saturating_duration_since(core.env.now());
        match core.env.timeout(left, attempt()).await {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) if !error.is_retriable() => return Err(error),
            Some(Err(error)) => {
                if leaders_moved(&error) {
                    core.metadata.refresh();
                }
                last = Some(error);
            }
            None => {}
        }
        let pause = core.env.random(|rng| backoff.next(rng));
        if core.env.now() + pause >= deadline {
            let message = format!("{what} did not succeed within {limit:?}");
            return Err(match last {
                Some(error) => error.wrap(ErrorKind::Timeout, message),
                None => Error::new(ErrorKind::Timeout, message),
            });
        }
        core.env.sleep(pause).await;
    }
}

/// Whether newer metadata may mend it.
pub(super) fn leaders_moved(error: &Error) -> bool {
    match error.code() {
        None => error.kind() == ErrorKind::Connection,
        Some(code) => matches!(
            code,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                | ErrorCode::UNKNOWN_TOPIC_ID
                | ErrorCode::INCONSISTENT_TOPIC_ID
                | ErrorCode::LEADER_NOT_AVAILABLE
                | ErrorCode::NOT_LEADER_OR_FOLLOWER
                | ErrorCode::FENCED_LEADER_EPOCH
                | ErrorCode::UNKNOWN_LEADER_EPOCH
                | ErrorCode::KAFKA_STORAGE_ERROR
                | ErrorCode::NOT_CONTROLLER
        ),
    }
}
