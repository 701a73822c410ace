//! What the public subscription holds of a running consumer: it can ask it to stop, wait for its end, and read its
//! failures. Dropping it stops the consumer without draining; the group is left in the background.

use std::sync::Arc;

use super::events::{Events, SubscriptionEvent};
use super::failure::Failures;
use super::pool::Shared;
use crate::client::fetch::FetchedBatch;
use crate::env::watch;
use crate::{Error, ErrorKind, Result};

/// How a consumer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ended {
    /// Handlers that were still running when `stop_timeout` was over; their records are handled again.
    pub(crate) left: u64,
}

/// `None` while it runs.
pub(super) type Outcome = Option<Result<Ended>>;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct ConsumerHandle {
    shared: Arc<Shared<FetchedBatch>>,
    /// True asks for a stop with draining; dropped, for one without.
    stop: watch::Sender<bool>,
    outcome: watch::Receiver<Outcome>,
}

impl ConsumerHandle {
    /// A handle and what the driver keeps of it.
    pub(super) fn new(shared: Arc<Shared<FetchedBatch>>) -> (Self, watch::Receiver<bool>, watch::Sender<Outcome>) {
        let (stop, stop_asked) = watch::channel(false);
        let (ended, outcome) = watch::channel(None);
        (Self { shared, stop, outcome }, stop_asked, ended)
    }

    /// The error stream; its clones share one buffer.
    pub(crate) fn failures(&self) -> Failures {
        self.shared.failures.clone()
    }

    /// The event stream; all share one buffer.
    pub(crate) fn events(&self) -> Events {
        self.shared.events.watch();
        self.shared.signal.notify_one();
        self.shared.events.clone()
    }

    /// Starts no handler and reads nothing until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        if self.shared.pause() {
            self.shared.events.push(SubscriptionEvent::Paused);
        }
    }

    pub(crate) fn resume(&self) {
        if self.shared.resume() {
            self.shared.events.push(SubscriptionEvent::Resumed);
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.shared.is_paused()
    }

    /// Asks the consumer to stop: no new handlers, running ones have `stop_timeout`, then commit and leave. Returns at
    /// once; [`join`](Self::join) waits for the end.
    pub(crate) fn request_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops and waits for the end, which comes within `stop_timeout` and the time limits of a commit and a leave.
    /// Cancel-safe: dropped, the stop goes on.
    pub(crate) async fn stop(&self) -> Result<Ended> {
        self.request_stop();
        self.join().await
    }

    /// Waits until the consumer has stopped by itself, by [`stop`](Self::stop), or failed. Cancel-safe.
    pub(crate) async fn join(&self) -> Result<Ended> {
        let mut outcome = self.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await;
        match ended.as_ref().map(|o| &**o) {
            Ok(Some(result)) => result.clone(),
            _ => Err(Error::new(ErrorKind::Closed, "the consumer ended with its runtime: start it in a living one")),
        }
    }

    /// Resolves when the consumer has ended; holds nothing of it.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut outcome = self.outcome.clone();
        async move {
            let _ = outcome.wait_for(Option::is_some).await;
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_ended(&self) -> bool {
        self.outcome.borrow().is_some()
    }
}
