//! A group's lag, looked up again and again: as a stream for anyone, and for a subscription's own handler, in a task
//! that lives as long as the subscription and never runs two calls at once.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::core::Dispatcher;
use super::status::ConsumeStatus;
use super::validate;
use crate::error::{Error, ErrorKind, Result};
use crate::worker::{ConsumerHandle, Failure, Failures, HandlerError};

/// Below this, looking would be work.
const SHORTEST: Duration = Duration::from_secs(1);

fn check(interval: Duration) -> Result<()> {
    if interval >= SHORTEST {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidConfig, format!("the interval of monitor_lag is {interval:?}: use 1 s or more")))
}

/// A group's lag at intervals; see [`Dispatcher::monitor_lag`].
#[must_use = "nothing is looked up before next()"]
pub struct MonitorLag {
    dispatcher: Dispatcher,
    topic: String,
    group: String,
    interval: Duration,
    /// None: at once.
    due: Option<Instant>,
}

impl Dispatcher {
    /// How far a group has got with a topic, every `interval` of at least 1 s, whether one is a member of it or not. The
    /// Kafka group is `<group>:<topic>`.
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// use std::time::Duration;
    ///
    /// let mut lag = dispatcher.monitor_lag("orders", "billing", Duration::from_secs(10))?;
    /// loop {
    ///     match lag.next().await {
    ///         Ok(status) => println!("{} messages behind", status.total_lag()),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for impossible names, [`ErrorKind::InvalidConfig`] for a shorter interval.
    pub fn monitor_lag(&self, topic: &str, group: &str, interval: Duration) -> Result<MonitorLag> {
        validate::topic(topic)?;
        validate::group(group)?;
        check(interval)?;
        Ok(MonitorLag {
            dispatcher: self.clone(),
            topic: topic.to_owned(),
            group: validate::group_of_topic(group, topic),
            interval,
            due: None,
        })
    }
}

impl MonitorLag {
    /// The next look: at once the first time, then when `interval` has passed since the last one began. Who comes late
    /// gets one look at once, not those that were missed.
    ///
    /// # Errors
    /// As [`Dispatcher::consume_status`]; the next call looks again at its time. Cancel-safe: a look that was dropped is
    /// begun again.
    pub async fn next(&mut self) -> Result<ConsumeStatus> {
        let env = self.dispatcher.env();
        if let Some(due) = self.due {
            env.sleep_until(due).await;
        }
        let began = env.now();
        let status = self.dispatcher.ask_status(&self.topic, self.group.clone()).await;
        self.due = Some(began + self.interval);
        status
    }
}

impl fmt::Debug for MonitorLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MonitorLag({} every {:?})", self.group, self.interval)
    }
}

/// What a subscription was told by `monitor_lag`.
#[derive(Clone)]
pub(super) struct LagHandler {
    interval: Duration,
    call: Arc<dyn Fn(ConsumeStatus) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl LagHandler {
    pub(super) fn new<H, Fut>(interval: Duration, handler: H) -> Self
    where
        H: Fn(ConsumeStatus) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self { interval, call: Arc::new(move |status| handler(status).boxed()) }
    }

    pub(super) fn check(&self) -> Result<()> {
        check(self.interval)
    }

    /// Runs until the consumer has ended.
    pub(super) fn start(self, dispatcher: Dispatcher, topics: Vec<String>, group: String, consumer: &ConsumerHandle) {
        let (ended, failures) = (consumer.ended(), consumer.failures());
        let env = dispatcher.env().clone();
        env.spawn(async move {
            tokio::select! {
                biased;
                () = ended => {}
                () = self.run(dispatcher, topics, group, failures) => {}
            }
        });
    }

    async fn run(self, dispatcher: Dispatcher, topics: Vec<String>, group: String, failures: Failures) {
        let env = dispatcher.env().clone();
        loop {
            let next = env.now() + self.interval;
            for topic in &topics {
                if let Err(error) = self.once(&dispatcher, topic, &group).await {
                    failures.push(Failure { record: None, error });
                }
            }
            env.sleep_until(next).await;
        }
    }

    async fn once(&self, dispatcher: &Dispatcher, topic: &str, group: &str) -> Result<()> {
        let status = dispatcher.ask_status(topic, group.to_owned()).await.map_err(|error| {
            let kind = error.kind();
            error.wrap(kind, format!("monitor_lag could not look up the lag of group {group} with {topic}"))
        })?;
        // The call itself may panic before there is a future.
        let called = AssertUnwindSafe(async { (self.call)(status).await }).catch_unwind().await;
        called.map_err(|payload| HandlerError::panicked(payload).because("the handler of monitor_lag failed".into()))
    }
}
