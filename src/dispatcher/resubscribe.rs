//! A subscription that is begun anew whenever it fails: the Go dispatcher's `SubscribeWithRetry`.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::routes::Routes;
use super::subscribe::{Plan, Subscribe};
use super::subscription::{Errors, Stopped, Subscription};
use crate::env::watch;
use crate::env::{Env, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::worker::{Failure, Failures, SubscriptionEvent};

type Backoff = Arc<dyn Fn(u32) -> Duration + Send + Sync>;

/// A try whose member has been in the group for so long counts as a success.
const SETTLED: Duration = Duration::from_secs(30);

/// A subscription that is to be kept up; [`start`](Self::start) starts it.
#[must_use = "nothing happens before start()"]
pub struct Resubscribe<'a, R> {
    subscribe: Subscribe<'a, R>,
    limit: u32,
    backoff: Backoff,
}

/// A subscription that is kept up.
///
/// A try fails when it cannot be started, or when it ends with an error: the cluster cannot be reached, too few of its
/// brokers are up to make the topic, the group refuses the member, a batch cannot be read. Whatever depends on the cluster
/// may be otherwise next time; what is wrong without looking at it, [`Resubscribe::start`] refuses. A try that was a member
/// of the group for 30 s counts as a success, and failures are counted anew after it. A handler that fails under
/// [`OnFailure::Stop`](crate::OnFailure::Stop) ends it for good, and so does whatever ends a subscription without an error.
///
/// Short absences of brokers are no failure: a subscription sits them out by itself.
///
/// Dropped, it stops as a dropped [`Subscription`] does, but for one that somebody still has from
/// [`current`](Self::current).
#[must_use = "dropped, it stops: join() or stop() it"]
pub struct Resubscription {
    group: String,
    errors: Failures,
    shared: Arc<Shared>,
    outcome: watch::Receiver<Option<Result<Option<Stopped>>>>,
    task: JoinHandle<()>,
}

struct Shared {
    /// The one that runs, to stop it.
    running: Mutex<Option<Arc<Subscription>>>,
    stop: watch::Sender<bool>,
}

impl<'a, R: Routes> Resubscribe<'a, R> {
    pub(super) fn new(subscribe: Subscribe<'a, R>, limit: u32, backoff: Backoff) -> Self {
        Self { subscribe, limit, backoff }
    }

    /// Starts it in the background; the cluster need not be there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] and [`ErrorKind::InvalidConfig`] for what can never work.
    pub fn start(self) -> Result<Resubscription> {
        if self.limit == 0 {
            let text = "the limit of failures is 0, so nothing would be tried: use 1 or more";
            return Err(Error::new(ErrorKind::InvalidConfig, text));
        }
        let plan = self.subscribe.plan()?;
        let (group, env) = (plan.group.clone(), plan.dispatcher.env().clone());
        let (stop, stopped) = watch::channel(false);
        let (ended, outcome) = watch::channel(None);
        let shared = Arc::new(Shared { running: Mutex::default(), stop });
        let errors = Failures::default();
        let keeper = Keeper {
            env: env.clone(),
            plan,
            limit: self.limit,
            backoff: self.backoff,
            errors: errors.clone(),
            shared: shared.clone(),
            stopped,
        };
        let end = EndOfErrors(errors.clone());
        let task = env.spawn(async move {
            let outcome = keeper.run().await;
            ended.send_replace(Some(outcome));
            drop(end);
        });
        Ok(Resubscription { group, errors, shared, outcome, task })
    }
}

/// Ends the stream of errors however the task ends: also aborted, or by a backoff that panics.
struct EndOfErrors(Failures);

impl Drop for EndOfErrors {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct Keeper<R> {
    env: Env,
    plan: Plan<R>,
    limit: u32,
    backoff: Backoff,
    errors: Failures,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
}

impl<R: Routes> Keeper<R> {
    async fn run(mut self) -> Result<Option<Stopped>> {
        let mut failures = 0;
        loop {
            let (outcome, succeeded) = self.attempt().await;
            let error = match outcome {
                Ok(stopped) => return Ok(stopped),
                Err(error) => error,
            };
            // Told already, with its message.
            if error.kind() == ErrorKind::Handler {
                return Err(error);
            }
            self.errors.push(Failure { record: None, error: error.clone() });
            failures = if succeeded { 1 } else { failures + 1 };
            if *self.stopped.borrow() || failures >= self.limit {
                return Err(error);
            }
            let wait = (self.backoff)(failures);
            tracing::warn!(target: "dispatcher", %error, failures, ?wait, "subscribing again");
            tokio::select! { biased;
                _ = self.stopped.changed() => return Ok(None),
                () = self.env.sleep(wait) => {}
            }
        }
    }

    /// How it ended, and whether it counts as a success.
    async fn attempt(&mut self) -> (Result<Option<Stopped>>, bool) {
        let subscription = tokio::select! { biased;
            _ = self.stopped.changed() => return (Ok(None), false),
            started = self.plan.start() => match started {
                Ok(subscription) => Arc::new(subscription),
                Err(error) => return (Err(error), false),
            },
        };
        *lock(&self.shared.running) = Some(subscription.clone());
        let (mut errors, mut events) = (subscription.errors(), subscription.events());
        let mut joined = None;
        let stopped = &mut self.stopped;
        let mut end = pin!(async {
            tokio::select! { biased;
                _ = stopped.changed() => subscription.stop().await,
                ended = subscription.join() => ended,
            }
        });
        let outcome = loop {
            tokio::select! { biased;
                Some(failure) = errors.next_raw() => self.errors.push(failure),
                Some(event) = events.next() => if matches!(event, SubscriptionEvent::Assigned { .. }) {
                    joined.get_or_insert(self.env.now());
                },
                ended = &mut end => break ended,
            }
        };
        // The stream ends with the subscription.
        while let Some(failure) = errors.next_raw().await {
            self.errors.push(failure);
        }
        *lock(&self.shared.running) = None;
        let succeeded = joined.is_some_and(|at| self.env.now() >= at + SETTLED);
        (outcome.map(Some), succeeded)
    }
}

impl Resubscription {
    /// The group under Kafka's name for it.
    pub fn group_id(&self) -> &str {
        &self.group
    }

    /// Failed handlers, failed tries, the last one too, and what else a user should know: see [`Subscription::errors`]. The
    /// stream ends when this has ended, or is dropped.
    pub fn errors(&self) -> Errors {
        Errors::of(self.errors.clone())
    }

    /// The subscription that runs now; `None` between two tries.
    pub fn current(&self) -> Option<Arc<Subscription>> {
        lock(&self.shared.running).clone()
    }

    /// Waits until it ends: by [`stop`](Self::stop) from elsewhere, by `count` or `until_end`, or with the last error. `None`
    /// if it was stopped between two tries. Cancel-safe.
    ///
    /// # Errors
    /// The last one, once there were too many in a row, or one that ends it for good.
    pub async fn join(&self) -> Result<Option<Stopped>> {
        let mut outcome = self.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await;
        match ended.as_ref().map(|o| &**o) {
            Ok(Some(result)) => result.clone(),
            _ => Err(Error::new(ErrorKind::Closed, "it ended with its runtime: start it in a living one")),
        }
    }

    /// Stops what runs in good order, as [`Subscription::stop`] does, and tries no more. Cancel-safe: dropped, the stop goes
    /// on.
    ///
    /// # Errors
    /// As with [`join`](Self::join), and those of [`Subscription::stop`].
    pub async fn stop(&self) -> Result<Option<Stopped>> {
        self.shared.stop.send_replace(true);
        self.join().await
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.outcome.borrow().is_some()
    }
}

impl Drop for Resubscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Resubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resubscription({})", self.group)
    }
}

impl<R> fmt::Debug for Resubscribe<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resubscribe(limit {})", self.limit)
    }
}
