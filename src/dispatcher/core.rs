//! The dispatcher itself: what all its calls share, and the life of a topic from first use to removal.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::answers::Desk;
use super::backend;
use super::builder::Builder;
use super::config::{Config, PartitionerKind};
use super::making::Making;
use super::payload::Payload;
use super::send::SendMessage;
use super::topic::Topic;
use super::trace::Tracing;
use super::validate;
use crate::client::admin::ClusterAdmin;
use crate::client::fetch::FetchConfig;
use crate::client::producer::{Producer, ProducerConfig, ProducerTopic};
use crate::client::topology::TopicMeta;
use crate::client::{ClientConfig, Cluster};
use crate::env::{Env, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::partitioner::{Murmur2, SaramaHash, SharedPartitioner};
use crate::telemetry;
use crate::worker::Source;

/// How long a topic that was not to be created is looked for: one that was just made elsewhere shows up late.
const LOOK_FOR_TOPIC: Duration = Duration::from_secs(2);

/// A connection to one Kafka cluster: sends, subscribes, administers.
///
/// Clones are cheap and share everything. When the last clone and the last [`Topic`] are gone, messages that were
/// enqueued and not yet sent fail; [`close`](Self::close) sends them first.
///
/// ```no_run
/// # async fn run() -> dispatcher::Result<()> {
/// use dispatcher::Dispatcher;
///
/// let dispatcher = Dispatcher::builder(["localhost:9092"]).replicas(1).connect().await?;
/// let report = dispatcher.send("orders", "hello").key("customer-7").await?;
/// println!("partition {} offset {:?}", report.partition(), report.offset());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    config: Config,
    cluster: Cluster,
    producer: Producer,
    /// What subscriptions read through, and administration.
    source: Source,
    /// Topics in use, so that a send by name costs one look-up.
    topics: Mutex<BTreeMap<Arc<str>, ProducerTopic>>,
    /// What is to come back.
    desk: Desk,
    tracing: Tracing,
    making: Making,
}

impl Dispatcher {
    /// Begins with some brokers of a cluster, `host:port` each.
    pub fn builder<B: Into<String>>(brokers: impl IntoIterator<Item = B>) -> Builder {
        let brokers = brokers.into_iter().map(Into::into).collect();
        Builder::new(Config { brokers, ..Config::default() })
    }

    /// Begins with settings from elsewhere, such as a file.
    pub fn from_config(config: Config) -> Builder {
        Builder::new(config)
    }

    pub(super) async fn open(
        config: Config,
        partitioner: Option<SharedPartitioner>,
        tracing: Tracing,
        env: Env,
    ) -> Result<Self> {
        let (config, producer) = checked(config, partitioner, &env)?;
        let connecting = Cluster::connect(client_config(&config), env.clone());
        let Some(cluster) = env.timeout(config.connect_timeout, connecting).await else {
            let text = format!(
                "no broker of {} answered within {:?}: check the addresses and that the cluster is up",
                config.brokers.join(", "),
                config.connect_timeout
            );
            return Err(Error::new(ErrorKind::Timeout, text));
        };
        Self::over(cluster?, config, producer, tracing)
    }

    pub(super) fn open_lazily(
        config: Config,
        partitioner: Option<SharedPartitioner>,
        tracing: Tracing,
        env: Env,
    ) -> Result<Self> {
        let (config, producer) = checked(config, partitioner, &env)?;
        Self::over(Cluster::lazy(client_config(&config), env)?, config, producer, tracing)
    }

    fn over(cluster: Cluster, config: Config, producer: ProducerConfig, tracing: Tracing) -> Result<Self> {
        telemetry::meter::describe();
        let fetch = FetchConfig {
            max_wait: config.fetch_max_wait,
            budget: config.fetch_memory,
            max_decompressed: config.max_decompressed_size,
            ..FetchConfig::default()
        };
        let source = backend::source(&config, cluster.clone(), fetch)?;
        let producer = Producer::new(cluster.clone(), source.backend.clone(), producer)?;
        let desk = Desk::new(cluster.env().clone());
        let (topics, making) = (Mutex::default(), Making::default());
        Ok(Self(Arc::new(Inner { config, cluster, producer, source, topics, desk, tracing, making })))
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    pub(super) fn tracing(&self) -> &Tracing {
        &self.0.tracing
    }

    pub(super) fn desk(&self) -> &Desk {
        &self.0.desk
    }

    pub(super) fn making(&self) -> &Making {
        &self.0.making
    }

    pub(crate) fn source(&self) -> &Source {
        &self.0.source
    }

    pub(crate) fn admin(&self) -> &dyn ClusterAdmin {
        &*self.0.source.admin
    }

    pub(crate) fn env(&self) -> &Env {
        self.0.cluster.env()
    }

    /// Begins a message to `topic`. Awaited, it resolves when all in-sync replicas have the message; see
    /// [`SendMessage`] for what can be added to it.
    ///
    /// A topic that does not exist is made with [`topic_defaults`](Builder::topic_defaults), unless
    /// [`create_topics`](Builder::create_topics) is off. For many messages to one topic,
    /// [`topic`](Self::topic) saves the look-up.
    pub fn send<'a>(&'a self, topic: &'a str, value: impl Into<Payload<'a>>) -> SendMessage<'a> {
        SendMessage::by_name(self, topic, value.into())
    }

    /// A handle for many messages to one topic, which is made if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an impossible name; [`ErrorKind::UnknownTopic`] if it does not exist and was not to
    /// be made; [`ErrorKind::InvalidConfig`] if it wants more replicas than there are brokers; otherwise why the brokers could
    /// not be asked or did not make it ([`ErrorKind::Connection`], [`ErrorKind::Timeout`], [`ErrorKind::Auth`],
    /// [`ErrorKind::Tls`], [`ErrorKind::Broker`]), or [`ErrorKind::Closed`]. Cancel-safe.
    pub async fn topic(&self, name: &str) -> Result<Topic> {
        Ok(Topic::new(self.clone(), self.producer_topic(name).await?))
    }

    pub(super) async fn producer_topic(&self, name: &str) -> Result<ProducerTopic> {
        if let Some(known) = self.known_topic(name) {
            return Ok(known);
        }
        self.ensure_topic(name).await?;
        self.open_topic(name).await
    }

    pub(super) fn known_topic(&self, name: &str) -> Option<ProducerTopic> {
        lock(&self.0.topics).get(name).cloned()
    }

    /// A topic that exists, and is known from now on; with as many partitions as metadata say.
    pub(super) async fn open_topic(&self, name: &str) -> Result<ProducerTopic> {
        let topic = self.0.producer.topic(name).await?;
        lock(&self.0.topics).insert(topic.name().clone(), topic.clone());
        Ok(topic)
    }

    /// The topic, made if it does not exist and that is allowed.
    pub(crate) async fn ensure_topic(&self, name: &str) -> Result<Arc<TopicMeta>> {
        validate::topic(name)?;
        let cluster = &self.0.cluster;
        if !self.0.config.create_topics {
            return self.existing_topic(name).await;
        }
        if let Some(topic) = cluster.find_topic(name).await? {
            return Ok(topic);
        }
        let defaults = &self.0.config.topic_defaults;
        defaults.check_brokers(name, cluster.topology().brokers().count())?;
        self.make_topic(name, defaults, &[]).await
    }

    /// The topic, which must exist.
    pub(crate) async fn existing_topic(&self, name: &str) -> Result<Arc<TopicMeta>> {
        validate::topic(name)?;
        self.0.cluster.wait_for_topic(name, LOOK_FOR_TOPIC).await.map_err(|e| match e.kind() {
            ErrorKind::UnknownTopic => Error::new(
                ErrorKind::UnknownTopic,
                format!("topic {name} does not exist: check the name, or create it (--create on the command line)"),
            ),
            _ => e,
        })
    }

    pub(super) fn forget_topic(&self, name: &str) {
        lock(&self.0.topics).remove(name);
        self.0.cluster.forget_topic(name);
    }

    /// Waits until everything enqueued before this call is acknowledged or has failed, which each message's own
    /// [`Delivery`](super::Delivery) tells. Ends within `delivery_timeout`. Cancel-safe.
    pub async fn flush(&self) {
        self.0.producer.flush().await;
    }

    /// Sends what is enqueued, for at most `timeout`, and then takes no more messages: later sends of any clone fail
    /// with [`ErrorKind::Closed`]. Subscriptions live on until they are stopped.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if messages were left when the time was over: what waited has failed as not, or maybe, written,
    /// and what is under way ends by itself, as each [`Delivery`](super::Delivery) tells. Dropped before it ends, nothing is
    /// closed.
    pub async fn close(&self, timeout: Duration) -> Result<()> {
        let in_time = self.env().timeout(timeout, self.0.producer.flush()).await.is_some();
        self.0.producer.close(Duration::ZERO).await;
        match in_time {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Timeout,
                format!("messages were still unsent after {timeout:?}: give close() more time"),
            )),
        }
    }
}

/// What can never work is refused here.
fn checked(mut config: Config, partitioner: Option<SharedPartitioner>, env: &Env) -> Result<(Config, ProducerConfig)> {
    config.validate()?;
    config.fit_backend(&client_config(&config), env)?;
    config.heartbeat_interval = config.heartbeat_interval.min(config.session_timeout / 3);
    let mut producer = ProducerConfig {
        idempotent: config.idempotence,
        linger: config.linger,
        batch_size: config.batch_size,
        delivery_timeout: config.delivery_timeout,
        request_timeout: config.request_timeout.min(config.delivery_timeout - config.linger),
        buffer_memory: config.buffer_memory,
        max_block: config.max_block,
        max_message_size: config.max_message_size,
        partitioner: partitioner.unwrap_or_else(|| match config.partitioner {
            PartitionerKind::Sarama => SharedPartitioner(Arc::new(SaramaHash)),
            PartitionerKind::Default | PartitionerKind::Random => SharedPartitioner(Arc::new(Murmur2)),
        }),
        ..ProducerConfig::default()
    };
    config.compress_in(&mut producer)?;
    config.leave_to_backend(&mut producer);
    producer.check()?;
    Ok((config, producer))
}

fn client_config(config: &Config) -> ClientConfig {
    ClientConfig {
        brokers: config.brokers.clone(),
        client_id: config.client_id.clone(),
        connect_timeout: config.connect_timeout,
        request_timeout: config.request_timeout,
        metadata_max_age: config.metadata_max_age,
        max_frame: config.max_response_size,
        tls: config.tls.clone(),
        sasl: config.sasl.clone(),
        ..ClientConfig::default()
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dispatcher({})", self.0.config.brokers.join(","))
    }
}
