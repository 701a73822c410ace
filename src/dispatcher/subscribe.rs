//! From a topic and a handler to a running member of a consumer group.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::answers::Responder;
use super::core::Dispatcher;
use super::forward::{self, Forwarding};
use super::from_message::FromMessage;
use super::group_id::default_group;
use super::message::Message;
use super::monitor_lag::LagHandler;
use super::resubscribe::Resubscribe;
use super::routes::{And, Route, Routes};
use super::status::ConsumeStatus;
use super::subscription::Subscription;
use super::trace::Observer;
use super::validate;
use crate::client::Isolation;
use crate::client::fetch::{FetchedBatch, OnBadBatch, ReadOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Assignor, Group, GroupConfig};
use crate::telemetry::meter::ConsumerMeter;
use crate::worker::{self, ConsumerConfig, OnFailure, Order, Record, Seams, StartAt};

/// A subscription that is being put together; [`start`](Self::start) starts it.
///
/// Unless told otherwise: one message at a time; a failed message is **reported and committed**, as in the Go
/// dispatcher; a new group starts with the oldest message; records of open and aborted transactions are not seen.
#[must_use = "nothing happens before start()"]
pub struct Subscribe<'a, R> {
    dispatcher: &'a Dispatcher,
    /// In the order of their routes.
    topics: Vec<String>,
    routes: R,
    group: GroupName,
    consumer: ConsumerConfig,
    membership: GroupConfig,
    on_bad_batch: OnBadBatch,
    publish_errors: bool,
    monitor: Option<LagHandler>,
    /// Topics for failed messages are made if they do not exist.
    make_helpers: bool,
}

enum GroupName {
    Default,
    WithTopic(String),
    Exact(String),
}

impl Dispatcher {
    /// Begins a subscription: `handler` is called for each message of `topic` that this member of the group gets.
    ///
    /// The handler takes whatever implements [`FromMessage`]: a [`Message`], `Bytes`, `Vec<u8>`, `String`,
    /// [`Json<T>`](super::Json), or a tuple of these. It fails by returning an error or by panicking; what then
    /// happens, [`on_failure`](Subscribe::on_failure) says. A handler that blocks its thread holds up others: see
    /// [`spawn_each`](Subscribe::spawn_each).
    ///
    /// Delivery is at least once: after a crash, messages that were in handling or handled since the last commit
    /// come again. After a [`stop`](Subscription::stop) none does.
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// use dispatcher::Error;
    ///
    /// let subscription = dispatcher
    ///     .subscribe("orders", async |payload: String| {
    ///         println!("{payload}");
    ///         Ok::<(), Error>(())
    ///     })
    ///     .group("billing")
    ///     .concurrency(32)
    ///     .start()
    ///     .await?;
    /// subscription.join().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe<M, E, Fut, H>(&self, topic: impl Into<String>, handler: H) -> Subscribe<'_, Route<H, M>>
    where
        M: FromMessage,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        H: Fn(M) -> Fut + Send + Sync + 'static,
    {
        let config = self.config();
        Subscribe {
            dispatcher: self,
            topics: vec![topic.into()],
            routes: Route::new(handler),
            group: GroupName::Default,
            consumer: ConsumerConfig { isolation: config.isolation, ..ConsumerConfig::default() },
            membership: GroupConfig {
                session_timeout: config.session_timeout,
                heartbeat_interval: config.heartbeat_interval,
                request_timeout: config.request_timeout,
                ..GroupConfig::new("", [])
            },
            on_bad_batch: OnBadBatch::Stop,
            publish_errors: false,
            monitor: None,
            make_helpers: config.create_topics,
        }
    }
}

impl<'a, R> Subscribe<'a, R> {
    /// One more topic, with a handler of its own, in the same group: its name must be given by
    /// [`group_exact`](Self::group_exact), for Kafka's name of another one contains the topic. All options are for the
    /// whole subscription, [`concurrency`](Self::concurrency) and [`count`](Self::count) too; order is kept within each
    /// topic.
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// use dispatcher::{Error, Message};
    ///
    /// let subscription = dispatcher
    ///     .subscribe("orders", async |order: String| {
    ///         println!("ordered: {order}");
    ///         Ok::<(), Error>(())
    ///     })
    ///     .and("payments", async |payment: Message| {
    ///         println!("paid: {:?}", payment.value());
    ///         Ok::<(), std::io::Error>(())
    ///     })
    ///     .group_exact("billing")
    ///     .concurrency(32)
    ///     .start()
    ///     .await?;
    /// subscription.join().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn and<M, E, Fut, H>(mut self, topic: impl Into<String>, handler: H) -> Subscribe<'a, And<R, Route<H, M>>>
    where
        M: FromMessage,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        H: Fn(M) -> Fut + Send + Sync + 'static,
    {
        self.topics.push(topic.into());
        Subscribe {
            dispatcher: self.dispatcher,
            topics: self.topics,
            routes: And::new(self.routes, Route::new(handler)),
            group: self.group,
            consumer: self.consumer,
            membership: self.membership,
            on_bad_batch: self.on_bad_batch,
            publish_errors: self.publish_errors,
            monitor: self.monitor,
            make_helpers: self.make_helpers,
        }
    }

    /// The group, of a subscription to one topic. Its name in Kafka is `<id>:<topic>`, as the Go dispatcher has it; a suffix that is there already is
    /// not added again. Default: the dispatcher's [`default_group`](super::Builder::default_group).
    pub fn group(mut self, id: impl Into<String>) -> Self {
        self.group = GroupName::WithTopic(id.into());
        self
    }

    /// The group under exactly this name, to share it with other clients.
    pub fn group_exact(mut self, id: impl Into<String>) -> Self {
        self.group = GroupName::Exact(id.into());
        self
    }

    /// Handlers in flight at once, more than there are partitions if asked; at least 1, which is the default.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.consumer.concurrency = handlers;
        self
    }

    /// Which messages wait for each other. Default: those of one key with a concurrency above 1, else those of one
    /// partition.
    pub fn order(mut self, order: Order) -> Self {
        self.consumer.order = Some(order);
        self
    }

    /// Where to begin in a partition of which the group has committed nothing. Default [`StartAt::Oldest`].
    pub fn start_at(mut self, at: StartAt) -> Self {
        self.consumer.start_at = at;
        self
    }

    /// [`StartAt::Newest`]: begins with messages that are sent from now on, where the group has committed nothing yet.
    pub fn skip_existing(self) -> Self {
        self.start_at(StartAt::Newest)
    }

    /// What becomes of a message whose handler failed. Default [`OnFailure::Skip`]: **it is reported and committed**.
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// use dispatcher::{Error, OnFailure, RetryPolicy};
    ///
    /// let subscription = dispatcher
    ///     .subscribe("orders", async |payload: String| {
    ///         println!("{payload}");
    ///         Ok::<(), Error>(())
    ///     })
    ///     .group("billing")
    ///     .on_failure(OnFailure::Retry(RetryPolicy::new(3).dead_letter("orders.dead")))
    ///     .start()
    ///     .await?;
    /// # subscription.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_failure(mut self, what: OnFailure) -> Self {
        self.consumer.on_failure = what;
        self
    }

    /// [`OnFailure::Hold`]: a failed message is never committed, nor passed by a later one: after a restart it is
    /// delivered again.
    pub fn hold_on_error(self) -> Self {
        self.on_failure(OnFailure::Hold)
    }

    /// [`OnFailure::Stop`]: a failed message stops the subscription.
    pub fn stop_on_error(self) -> Self {
        self.on_failure(OnFailure::Stop)
    }

    /// Which records of transactions are seen. Default: the dispatcher's, which is those of committed ones.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.consumer.isolation = isolation;
        self
    }

    /// Whether every failure of a handler is written to the helper topic `<topic>_ERR`, for
    /// [`callback_errors`](Dispatcher::callback_errors), and not only those of messages whose senders
    /// [watch for errors](crate::SendMessage::watch_errors). Default no.
    pub fn publish_errors(mut self, yes: bool) -> Self {
        self.publish_errors = yes;
        self
    }

    /// What to do with a batch that cannot be read. Default [`OnBadBatch::Stop`].
    pub fn on_bad_batch(mut self, what: OnBadBatch) -> Self {
        self.on_bad_batch = what;
        self
    }

    /// How partitions are dealt out among the group's members, most preferred first; as Java's
    /// `partition.assignment.strategy`. Members need one in common. Default: [`Assignor::Range`] and
    /// [`Assignor::CooperativeSticky`], as in Java.
    ///
    /// With [`CooperativeSticky`](Assignor::CooperativeSticky) alone a rebalance takes only the partitions that change their
    /// owner (KIP-429). With any other list every member gives up all of its partitions for the length of a rebalance. A
    /// group that is to change from the one to the other without a stop restarts its members twice: first with
    /// both assignors, `CooperativeSticky` preferred, then with it alone.
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = Assignor>) -> Self {
        self.membership.assignors = assignors.into_iter().collect();
        self
    }

    /// Makes this a static member: a restart within the session time-out gets the same partitions without a
    /// rebalance, and [`stop`](Subscription::stop) does not leave the group.
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.membership.instance_id = Some(id.into().into());
        self
    }

    /// A member that is silent for this long is taken for dead. Slow handlers don't count as silence. Default 30 s.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.membership.session_timeout = timeout;
        self.membership.heartbeat_interval = self.membership.heartbeat_interval.min(timeout / 3);
        self
    }

    /// How often progress is committed while there is any. Default 1 s.
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.consumer.commit_interval = interval;
        self
    }

    /// When a handler is ended and its message counts as failed. Default: never.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.consumer.handler_timeout = Some(timeout);
        self
    }

    /// How long running handlers get when their partition is taken away. The whole group waits for it, and so it must leave
    /// room for a heartbeat and a last commit within the `rebalance_timeout`. Receipts and error records that are not
    /// acknowledged then are waited for half as long, 2 s at most: their messages are done. Default 10 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.consumer.drain_timeout = timeout;
        self.membership.drain_timeout = timeout;
        self
    }

    /// How long the group waits for this member to join again when it rebalances; the longest of its members' counts.
    /// Must be above [`drain_timeout`](Self::drain_timeout), and need not cover slow handlers. Default 60 s.
    ///
    /// A rebalance that lasts longer costs a cooperative member what it owns, for it cannot know whether the coordinator
    /// still waits for it. Java's members let others wait for up to their `max.poll.interval.ms` (300 s by default): with
    /// slow ones in the group, take theirs.
    pub fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.membership.rebalance_timeout = timeout;
        self
    }

    /// How long [`stop`](Subscription::stop) waits for running handlers. Default 30 s.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.consumer.stop_timeout = timeout;
        self.membership.stop_timeout = timeout;
        self
    }

    /// When a handler that has not ended is reported, among the errors and as
    /// [`Stalled`](crate::SubscriptionEvent::Stalled); it goes on. Looked at once a `commit_interval`. Default 60 s.
    pub fn stall_after(mut self, timeout: Duration) -> Self {
        self.consumer.stall_after = timeout;
        self
    }

    /// Messages of one partition that may be unfinished or held behind its first unfinished one, before intake of
    /// that partition pauses. Default 10,000.
    pub fn max_held(mut self, messages: u32) -> Self {
        self.consumer.max_held = messages;
        self
    }

    /// Runs each handler as a task of its own: for handlers that block their thread or compute for long. Costs about
    /// half a microsecond a message.
    pub fn spawn_each(mut self, yes: bool) -> Self {
        self.consumer.spawn_each = yes;
        self
    }

    /// Hands out at most so many messages, failed ones included, and then ends with all of them committed.
    pub fn count(mut self, messages: u64) -> Self {
        self.consumer.count = Some(messages);
        self
    }

    /// Ends when everything that was there when the partitions were assigned is handled and committed. What a rebalance
    /// takes away is its next owner's to finish; a member that owns nothing ends once that has lasted for `drain_timeout`
    /// and 5 s, for the others may still have something to hand over.
    pub fn until_end(mut self) -> Self {
        self.consumer.until_end = true;
        self
    }

    /// Calls `handler` with how far the whole group has got: when the subscription starts, and then every `interval`, of
    /// at least 1 s, as long as it lives. With several topics it is called for each of them in turn.
    ///
    /// Calls never overlap: the next one waits for a slow handler, and those that were due meanwhile are left out. A
    /// look-up that fails, and a handler that panics, is among the subscription's [`errors`](Subscription::errors), and the
    /// next one comes at its time all the same. A call that still runs when the subscription ends is dropped where it
    /// waits. For a group one is not a member of: [`Dispatcher::monitor_lag`].
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// use std::time::Duration;
    /// use dispatcher::Error;
    ///
    /// let subscription = dispatcher
    ///     .subscribe("orders", async |_order: String| Ok::<(), Error>(()))
    ///     .group("billing")
    ///     .monitor_lag(Duration::from_secs(10), async |status| {
    ///         println!("{} messages behind", status.total_lag());
    ///     })
    ///     .start()
    ///     .await?;
    /// # subscription.join().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn monitor_lag<H, Fut>(mut self, interval: Duration, handler: H) -> Self
    where
        H: Fn(ConsumeStatus) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.monitor = Some(LagHandler::new(interval, handler));
        self
    }

    /// Makes the topics for failed messages though others are not to be made.
    #[cfg(feature = "cli")]
    pub(crate) fn make_helpers(mut self) -> Self {
        self.make_helpers = true;
        self
    }

    fn group_id(&self) -> String {
        let with_topic = |group: &str| validate::group_of_topic(group, &self.topics[0]);
        match (&self.group, &self.dispatcher.config().default_group) {
            (GroupName::Exact(id), _) => id.clone(),
            (GroupName::WithTopic(id), _) | (GroupName::Default, Some(id)) => with_topic(id),
            (GroupName::Default, None) => with_topic(&default_group()),
        }
    }

    fn check(&self) -> Result<()> {
        self.topics.iter().try_for_each(|topic| validate::topic(topic))?;
        if let GroupName::WithTopic(id) | GroupName::Exact(id) = &self.group {
            validate::group(id)?;
        }
        let invalid = |text: &'static str| Err(Error::new(ErrorKind::InvalidConfig, text));
        let mut names: Vec<_> = self.topics.iter().collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < self.topics.len() {
            return invalid("a topic is subscribed to twice: give it one handler");
        }
        if self.topics.len() > 1 && !matches!(self.group, GroupName::Exact(_)) {
            return invalid(
                "several topics share a group, whose name cannot be <id>:<topic> then: name it with group_exact",
            );
        }
        if self.consumer.concurrency == 0 {
            return invalid("concurrency is 0, so nothing could be handled: use 1 or more");
        }
        if self.consumer.count == Some(0) {
            return invalid("count is 0, so nothing could be handled: use 1 or more");
        }
        if self.consumer.commit_interval.is_zero() {
            return invalid("commit_interval is 0: use 1 ms or more");
        }
        self.dispatcher.config().backend.check_isolation(self.consumer.isolation)?;
        self.consumer.on_failure.validate()?;
        self.monitor.as_ref().map_or(Ok(()), LagHandler::check)
    }
}

impl<'a, R: Routes> Subscribe<'a, R> {
    /// Joins the group and begins to hand out messages, in the background. A topic that does not exist is made,
    /// unless [`create_topics`](super::Builder::create_topics) is off.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] and [`ErrorKind::InvalidConfig`] for what can never work,
    /// [`ErrorKind::UnknownTopic`] for a topic that does not exist and was not to be made; otherwise why its brokers could not
    /// be asked, or not make it, as [`Dispatcher::topic`](crate::Dispatcher::topic) says. What happens later,
    /// [`Subscription::join`] and [`Subscription::errors`] tell. Cancel-safe.
    pub async fn start(self) -> Result<Subscription> {
        self.plan()?.start().await
    }

    /// Subscribes again whenever the subscription fails: after `limit` failures in a row it ends with the last error, and
    /// between two tries it waits for as long as `backoff` says, which is given the number of failures so far, from 1.
    ///
    /// See [`Resubscription`](super::Resubscription) for what counts as a failure.
    ///
    /// ```no_run
    /// # async fn run() -> dispatcher::Result<()> {
    /// use std::time::Duration;
    /// use dispatcher::{Dispatcher, Error};
    ///
    /// // The cluster need not be up yet.
    /// let dispatcher = Dispatcher::builder(["localhost:9092"]).connect_lazily()?;
    /// let handler = async |order: String| Ok::<(), Error>(println!("{order}"));
    /// let kept = dispatcher
    ///     .subscribe("orders", handler)
    ///     .group("kitchen")
    ///     .resubscribe(100, |failures| Duration::from_secs(failures.min(60).into()))
    ///     .start()?;
    /// kept.join().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn resubscribe<B>(self, limit: u32, backoff: B) -> Resubscribe<'a, R>
    where
        B: Fn(u32) -> Duration + Send + Sync + 'static,
    {
        Resubscribe::new(self, limit, Arc::new(backoff))
    }

    /// Everything checked that can be checked without the cluster.
    pub(super) fn plan(mut self) -> Result<Plan<R>> {
        self.check()?;
        let group = self.group_id();
        self.membership.group_id = group.as_str().into();
        self.consumer.topics = self.topics.iter().map(|topic| topic.as_str().into()).collect();
        let (retries, forward) = forward::prepare(self.dispatcher, &group, &self.consumer, self.make_helpers)?;
        self.consumer.retries = retries;
        let retries = self.consumer.retries.iter().map(|retry| retry.topic.clone());
        self.membership.topics = self.consumer.topics.iter().cloned().chain(retries).collect();
        self.membership.isolation = self.consumer.isolation;
        self.membership.validate()?;
        Ok(Plan {
            dispatcher: self.dispatcher.clone(),
            routes: Arc::new(self.routes),
            group,
            consumer: self.consumer,
            membership: self.membership,
            on_bad_batch: self.on_bad_batch,
            publish_errors: self.publish_errors,
            monitor: self.monitor,
            forward,
            make_helpers: self.make_helpers,
        })
    }
}

/// A subscription that can be started, again and again.
pub(super) struct Plan<R> {
    pub(super) dispatcher: Dispatcher,
    routes: Arc<R>,
    pub(super) group: String,
    consumer: ConsumerConfig,
    membership: GroupConfig,
    on_bad_batch: OnBadBatch,
    publish_errors: bool,
    monitor: Option<LagHandler>,
    forward: Forwarding,
    make_helpers: bool,
}

impl<R: Routes> Plan<R> {
    pub(super) async fn start(&self) -> Result<Subscription> {
        let mut consumer = self.consumer.clone();
        for topic in &self.consumer.topics {
            let partitions = self.dispatcher.ensure_topic(topic).await?.partitions.len();
            consumer.partitions.insert(topic.clone(), partitions as i32);
        }
        forward::make_topics(&self.dispatcher, &consumer, self.make_helpers).await?;
        let reading = ReadOptions { isolation: consumer.isolation, on_bad_batch: self.on_bad_batch };
        let source = self.dispatcher.source().clone();
        let member = Group::start(source.cluster.clone(), self.membership.clone());
        let responder = Responder::new(self.dispatcher.clone(), &self.group, self.publish_errors);
        let seams = Seams {
            aftercare: Some(Arc::new(responder)),
            meter: ConsumerMeter::new(&self.group),
            forward: self.forward.clone(),
        };
        let (env, tracing) = (self.dispatcher.env().clone(), self.dispatcher.tracing().clone());
        let topics: Vec<String> = self.consumer.topics.iter().map(|topic| topic.to_string()).collect();
        let observer = Observer::new(env, tracing, &self.group, &topics);
        let routes = self.routes.clone();
        let adapted = move |record: Record<FetchedBatch>| {
            let (topic, message) = (record.route(), Message::new(record));
            let handling = observer.begin(topic, &message);
            let handled = handling.within(|| routes.call(topic, message));
            handling.run(handled)
        };
        let handle = worker::start(source, member, consumer, seams, reading, adapted);
        if let Some(monitor) = self.monitor.clone() {
            monitor.start(self.dispatcher.clone(), topics, self.group.clone(), &handle);
        }
        Ok(Subscription::new(handle, self.group.clone()))
    }
}

impl<R> fmt::Debug for Subscribe<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscribe({} as {})", self.topics.join(", "), self.group_id())
    }
}
