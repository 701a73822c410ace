//! From settings to a connected dispatcher.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;
use super::config::{Config, PartitionerKind};
use super::core::Dispatcher;
use super::properties;
use super::topic_defaults::TopicDefaults;
use super::trace::Tracing;
use crate::client::Isolation;
use crate::env::Env;
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::net::sasl::Sasl;
use crate::net::tls::Tls;
use crate::partitioner::{Partitioner, SharedPartitioner};
use crate::telemetry::{Propagator, SharedPropagator};
use crate::wire::records::Compression;

/// Collects settings; [`connect`](Self::connect) uses them. All have defaults, see [`Config`].
///
/// ```no_run
/// # async fn run() -> dispatcher::Result<()> {
/// use std::time::Duration;
/// use dispatcher::Dispatcher;
///
/// let dispatcher = Dispatcher::builder(["kafka-1:9092", "kafka-2:9092"])
///     .client_id("orders-service")
///     .replicas(3)
///     .delivery_timeout(Duration::from_secs(30))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing happens before connect()"]
pub struct Builder {
    config: Config,
    partitioner: Option<SharedPartitioner>,
    propagator: Option<SharedPropagator>,
    env: Option<Env>,
}

/// Setters that do no more than store a value.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($field:ident).+;)+) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.config.$($field).+ = $name.into();
            self
        }
    )+};
}

impl Builder {
    pub(super) fn new(config: Config) -> Self {
        Self { config, partitioner: None, propagator: None, env: None }
    }

    setters! {
        /// Shown in the brokers' logs and used for their quotas. Default `dispatcher`.
        client_id: impl Into<String> => client_id;
        /// Limit for opening one connection, and for `connect()` as a whole. Default 10 s.
        connect_timeout: Duration => connect_timeout;
        /// Limit for one request, and for an admin call with its retries. Default 30 s.
        request_timeout: Duration => request_timeout;
        /// What is known of the cluster is asked for again after this long. Default 60 s.
        metadata_max_age: Duration => metadata_max_age;
        /// Limit from `send` to its acknowledgement, retries included; what is under way then is reported as
        /// [`MaybeWritten`](crate::ErrorKind::MaybeWritten). Default 120 s.
        delivery_timeout: Duration => delivery_timeout;
        /// How long `send` waits for room in the buffer. Default 60 s.
        max_block: Duration => max_block;
        /// How long a batch waits for company. Default 0.
        linger: Duration => linger;
        /// A batch is closed at this many bytes. Default 1,000,000.
        batch_size: usize => batch_size;
        /// Bytes of messages that wait or are on their way, at most. Default 64 MiB.
        buffer_memory: usize => buffer_memory;
        /// A larger message is refused before it is sent, in bytes. Default 20,000,000.
        max_message_size: usize => max_message_size;
        /// Compression of batches. Default none.
        compression: Compression => compression;
        /// How hard gzip tries, if it is chosen: 1 (fast) to 9 (small). Default 6.
        gzip_level: i32 => compression_levels.gzip;
        /// How hard Zstandard tries, if it is chosen: −131,072 (fast) to 22 (small). Default 3.
        zstd_level: i32 => compression_levels.zstd;
        /// Whether the broker sorts out what a retry would write twice. Default true.
        idempotence: bool => idempotence;
        /// Which Kafka client writes and reads partitions. Default this library's own.
        backend: Backend => backend;
        /// Which partition a message goes to. Default as Kafka's Java client.
        partitioner: PartitionerKind => partitioner;
        /// How a message's id and sent time travel. Default in Kafka headers.
        envelope: Envelope => envelope;
        /// Whether every message gets W3C trace context headers; see [`telemetry`](crate::telemetry). Those of
        /// [`Envelope::GoJson`] get none. Default false.
        trace_context: bool => trace_context;
        /// Whether `send` and `subscribe` make a topic that does not exist. Default true.
        create_topics: bool => create_topics;
        /// What topics are made with. Default 10 partitions and 3 replicas, 2 of which must have a message.
        topic_defaults: TopicDefaults => topic_defaults;
        /// Partitions of topics that are made. Default 10.
        partitions: i32 => topic_defaults.partitions;
        /// Replicas of topics that are made. Default 3; a cluster with fewer brokers needs fewer.
        replicas: i16 => topic_defaults.replicas;
        /// Replicas that must have a message before it counts as sent. Default one less than `replicas`, at least 1.
        min_insync_replicas: i16 => topic_defaults.min_insync_replicas;
        /// Which records of transactions subscriptions see. Default those of committed ones.
        isolation: Isolation => isolation;
        /// A member of a group that is silent for this long is taken for dead. Default 30 s.
        session_timeout: Duration => session_timeout;
        /// How often a member says that it is alive. Default 3 s.
        heartbeat_interval: Duration => heartbeat_interval;
        /// Bytes of fetched messages that wait for their handlers or are kept by them, at most; far fewer while handlers keep up.
        /// Default 64 MiB.
        fetch_memory: usize => fetch_memory;
        /// How long a broker waits for new messages before it answers that there are none. Default 500 ms.
        fetch_max_wait: Duration => fetch_max_wait;
        /// A longer answer of a broker is refused, in bytes. Default 100 MiB; 64 MiB at least.
        max_response_size: usize => max_response_size;
        /// A batch that grows larger than this when it is decompressed is refused, in bytes. Default 128 MiB.
        max_decompressed_size: usize => max_decompressed_size;
    }

    /// Compression of one topic's batches, whatever [`compression`](Self::compression) says; the level is the codec's.
    ///
    /// ```
    /// # use dispatcher::{Compression, Dispatcher};
    /// let builder = Dispatcher::builder(["kafka:9092"]).topic_compression("thumbnails", Compression::None);
    /// assert_eq!(builder.config().topic_compression["thumbnails"], Compression::None);
    /// ```
    pub fn topic_compression(mut self, topic: impl Into<String>, compression: Compression) -> Self {
        self.config.topic_compression.insert(topic.into(), compression);
        self
    }

    /// The consumer group of subscriptions that name none. Default: a hash of this machine's MAC addresses.
    pub fn default_group(mut self, group: impl Into<String>) -> Self {
        self.config.default_group = Some(group.into());
        self
    }

    /// Encrypts the connections to the brokers, and checks that they are the brokers. Default none: the listeners must be
    /// plaintext ones.
    ///
    /// ```no_run
    /// # async fn run() -> dispatcher::Result<()> {
    /// use dispatcher::{Dispatcher, Tls};
    ///
    /// let dispatcher = Dispatcher::builder(["kafka-1:9093"]).tls(Tls::new()).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls(mut self, tls: Tls) -> Self {
        self.config.tls = Some(tls);
        self
    }

    /// Authenticates this client to the brokers. Default none: the listeners must be ones without SASL.
    ///
    /// ```no_run
    /// # async fn run() -> dispatcher::Result<()> {
    /// use dispatcher::{Dispatcher, Sasl, Tls};
    ///
    /// let dispatcher = Dispatcher::builder(["kafka-1:9094"])
    ///     .tls(Tls::new())
    ///     .sasl(Sasl::scram_sha_512("orders", "password"))
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.config.sasl = Some(sasl);
        self
    }

    /// **For networks that nobody listens to.** Lets SASL go over connections without TLS: PLAIN and OAUTHBEARER send
    /// the secret itself, SCRAM lets listeners try passwords at home, and nothing that follows is private. Without it
    /// [`connect`](Self::connect) refuses.
    pub fn danger_sasl_without_tls(mut self) -> Self {
        self.config.danger_sasl_without_tls = true;
        self
    }

    /// Reads [`consume_status`](Dispatcher::consume_status) from the HTTP service that the Go dispatcher reads it from,
    /// `[http://]host[:port][/base]`, with `GET <base>/monitor/kafka/lags?group_id=…&topic=…`, instead of computing it from
    /// Kafka; `dispatcher monitor` of the command-line tool is such a service. Default none.
    ///
    /// Its answer is a number, a text with one number in it, or JSON: a number, an object whose `lag`, `total_lag`,
    /// `lag_count`, `LagCount` or `count` is one, or a list of these, which are added up. The Go dispatcher takes the first
    /// digits it sees instead, those of a topic's name too; anything else is an error here, and so is a negative lag. Up to
    /// 10 redirects are followed. The limits are `request_timeout` for the whole, and 64 KiB for an answer. Needs the
    /// feature `monitor-host`, which is on by default; `https` is not there yet, and refused by
    /// [`connect`](Self::connect).
    pub fn monitor_host(mut self, host: impl Into<String>) -> Self {
        self.config.monitor_host = Some(host.into());
        self
    }

    /// Topics as the Go dispatcher makes them: all 3 replicas must have a message, so that one broker that is down
    /// stops all sending.
    pub fn go_topic_defaults(self) -> Self {
        self.topic_defaults(TopicDefaults::go())
    }

    /// Topics as the brokers are configured: their own partitions, replicas and limits.
    pub fn auto_topic_defaults(self) -> Self {
        self.topic_defaults(TopicDefaults::auto())
    }

    /// A rule of your own for messages with a key.
    pub fn custom_partitioner(mut self, partitioner: impl Partitioner) -> Self {
        self.partitioner = Some(SharedPartitioner(Arc::new(partitioner)));
        self
    }

    /// Carries the trace context of a tracing system of yours in messages' headers, whatever
    /// [`trace_context`](Self::trace_context) says.
    pub fn propagator(mut self, propagator: impl Propagator) -> Self {
        self.propagator = Some(SharedPropagator(Arc::new(propagator)));
        self
    }

    /// Connects through this network instead of TCP, such as
    /// [`EmbeddedCluster::network`](crate::embedded::EmbeddedCluster::network).
    #[cfg(feature = "embedded")]
    pub fn network(mut self, network: &crate::env::Network) -> Self {
        self.env = Some(Env::on(network));
        self
    }

    /// Adds a Kafka `client.properties` file; what it names wins over what was set before. Notes about properties
    /// without a meaning here are logged as warnings.
    ///
    /// # Errors
    /// The file cannot be read or [`Config::apply_properties`] refuses it.
    pub fn properties_file(mut self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| {
            let message = format!("the properties file {} cannot be read: check its path", path.display());
            Error::new(ErrorKind::InvalidConfig, message).with_source(e)
        })?;
        for note in self.config.apply_properties(&properties::decode(bytes))? {
            tracing::warn!(target: "dispatcher", "{note}");
        }
        Ok(self)
    }

    /// The settings so far.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Does not wait for the cluster, which may be down: whatever first needs it looks for it, and fails within its own
    /// limits while it cannot be reached. For services that must start before their cluster does; see
    /// [`Subscribe::resubscribe`](crate::Subscribe::resubscribe).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for settings that cannot work.
    pub fn connect_lazily(self) -> Result<Dispatcher> {
        let tracing = self.tracing();
        Dispatcher::open_lazily(self.config, self.partitioner, tracing, self.env.unwrap_or_else(Env::system))
    }

    /// Connects to the cluster.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for settings that cannot work; [`ErrorKind::Connection`] or
    /// [`ErrorKind::Timeout`] if no broker answered within `connect_timeout`; [`ErrorKind::Auth`] or [`ErrorKind::Tls`], after
    /// one try, if they refuse this client or it does not trust them.
    ///
    /// Cancel-safe: dropped, nothing is left behind.
    pub async fn connect(self) -> Result<Dispatcher> {
        let tracing = self.tracing();
        Dispatcher::open(self.config, self.partitioner, tracing, self.env.unwrap_or_else(Env::system)).await
    }

    fn tracing(&self) -> Tracing {
        let propagator = self.propagator.clone();
        Tracing { on: self.config.trace_context || propagator.is_some(), propagator }
    }
}
