//! Calls of watchers' handlers, for the readers of errors. A handler belongs to a user and may never end: it must cost no
//! other one more than a moment. So many run at once, and while they do, failures wait in Kafka; one that is slow gives its
//! place to the next and goes on beside them; and there is an end to how long and how many may do so.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::callback_error::{CallbackError, Watcher};
use crate::env::{Env, lock};

/// Handlers that run at once, each in a place of its own.
const PLACES: usize = 64;
/// When a handler that has not ended leaves its place.
const SLOW: Duration = Duration::from_secs(1);
/// Handlers that go on without a place; beyond, the oldest is dropped.
const MAX_SLOW: usize = 1_000;
/// When a handler that has not ended is dropped.
const LIMIT: Duration = Duration::from_secs(60);

/// See the file's head. One for each dispatcher.
pub(super) struct Calls {
    places: Arc<Semaphore>,
    /// Each ends its handler when it is dropped.
    slow: Arc<Mutex<VecDeque<oneshot::Sender<()>>>>,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)), slow: Arc::default() }
    }

    /// Begins a call as soon as there is a place, for which it waits until one of those that run has ended or is slow.
    pub(super) async fn begin(&self, env: &Env, watcher: Watcher, error: CallbackError) {
        let Ok(place) = self.places.clone().acquire_owned().await else { return };
        let (slow, clock) = (self.slow.clone(), env.clone());
        // A handler that panics ends its own task only.
        env.spawn(async move {
            let of = error.to_string();
            let mut call = pin!(watcher.call(error));
            if clock.timeout(SLOW, &mut call).await.is_some() {
                return;
            }
            drop(place);
            let (kept, crowded_out) = oneshot::channel();
            keep(&mut lock(&slow), kept);
            let why = tokio::select! { biased;
                () = &mut call => return,
                _ = crowded_out => format!("{MAX_SLOW} newer ones have not ended either"),
                () = clock.sleep(LIMIT - SLOW) => format!("it has not ended within {LIMIT:?}"),
            };
            tracing::warn!(target: "dispatcher", failure = of, "a watcher of errors is dropped: {why}; make it faster");
        });
    }
}

/// Lets one more go on, the oldest one no longer if they are too many.
fn keep(slow: &mut VecDeque<oneshot::Sender<()>>, one: oneshot::Sender<()>) {
    if slow.len() >= MAX_SLOW {
        slow.retain(|one| !one.is_closed());
    }
    if slow.len() >= MAX_SLOW {
        slow.pop_front();
    }
    slow.push_back(one);
}
