//! All settings of a [`Dispatcher`](super::Dispatcher), with their defaults: one plain value that the builder fills,
//! serde reads and writes, and a `client.properties` file adds to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::compression::CompressionLevels;
use super::topic_defaults::TopicDefaults;
use super::{monitor_host, names};
use crate::client::Isolation;
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::net::sasl::Sasl;
use crate::net::tls::Tls;
use crate::wire::records::Compression;

/// Which partition a message with a key goes to, and where messages without one go.
///
/// A message's `.partition(n)` wins over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartitionerKind {
    /// As Kafka's Java client: murmur2 of the key; without a key, batches stick to one partition and then move on.
    /// The default.
    #[default]
    Default,
    /// As the Go dispatcher: FNV-1a of the key; without a key, at random. Needed for order when both send the same
    /// keys.
    Sarama,
    /// At random, with a key too.
    Random,
}

/// Settings of a [`Dispatcher`](super::Dispatcher). Times are in milliseconds where they are serialised.
///
/// ```
/// let config: dispatcher::Config = serde_json::from_str(r#"{"brokers": ["kafka:9092"], "linger_ms": 5}"#)?;
/// assert_eq!(config.linger, std::time::Duration::from_millis(5));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Some brokers of the cluster, `host:port` each (port 9092 if left out); the others are found through them.
    pub brokers: Vec<String>,
    /// Shown in the brokers' logs and used for their quotas. Default `dispatcher`.
    pub client_id: String,
    /// The consumer group of subscriptions that name none. Default: a hash of this machine's MAC addresses.
    pub default_group: Option<String>,
    /// The service that consume status is read from, `host[:port][/base]`. Default none: it is computed from Kafka.
    pub monitor_host: Option<String>,
    /// TLS to the brokers. Default none. What its files hold is read by `connect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who this client is. Default nobody in particular: the listeners must be ones without SASL. Secrets are read, but
    /// not written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Whether SASL may go over connections without TLS. See
    /// [`Builder::danger_sasl_without_tls`](super::Builder::danger_sasl_without_tls). Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub danger_sasl_without_tls: bool,
    /// Limit for opening one connection, and for `connect()` as a whole. Default 10 s.
    #[serde(with = "millis", rename = "connect_timeout_ms")]
    pub connect_timeout: Duration,
    /// Limit for one request to a broker, and for an admin call with its retries. Default 30 s.
    #[serde(with = "millis", rename = "request_timeout_ms")]
    pub request_timeout: Duration,
    /// What is known of the cluster is asked for again after this long. Default 60 s.
    #[serde(with = "millis", rename = "metadata_max_age_ms")]
    pub metadata_max_age: Duration,
    /// Limit from `send` to its acknowledgement, retries included. Default 120 s.
    #[serde(with = "millis", rename = "delivery_timeout_ms")]
    pub delivery_timeout: Duration,
    /// How long `send` waits for room in the buffer. Default 60 s.
    #[serde(with = "millis", rename = "max_block_ms")]
    pub max_block: Duration,
    /// How long a batch waits for company. Default 0: batches fill by themselves under load.
    #[serde(with = "millis", rename = "linger_ms")]
    pub linger: Duration,
    /// A batch is closed at this many bytes. Default 1,000,000.
    pub batch_size: usize,
    /// Messages that wait or are on their way, in bytes. Default 64 MiB.
    pub buffer_memory: usize,
    /// A larger message (key, value and headers together, envelope included) is refused before it is sent. Default
    /// 20,000,000 bytes.
    pub max_message_size: usize,
    /// Compression of batches. Default none.
    #[serde(with = "compression_name")]
    pub compression: Compression,
    /// Compression of single topics' batches, by the topic's name. Default none: all have [`compression`](Self::compression).
    #[serde(with = "compression_names")]
    pub topic_compression: BTreeMap<String, Compression>,
    /// How hard the codecs try. Default gzip 6, Zstandard 3.
    pub compression_levels: CompressionLevels,
    /// Whether the broker sorts out what a retry would write twice. Default true.
    pub idempotence: bool,
    /// Which Kafka client writes and reads partitions. Default this library's own.
    pub backend: Backend,
    /// Which partition a message goes to. Default as Kafka's Java client.
    pub partitioner: PartitionerKind,
    /// How a message's id and sent time travel. Default in Kafka headers.
    pub envelope: Envelope,
    /// Whether messages get W3C trace context headers; see [`telemetry`](crate::telemetry). Default false.
    pub trace_context: bool,
    /// Whether `send` and `subscribe` make a topic that does not exist. Default true.
    pub create_topics: bool,
    /// What such a topic is made with. Default 10 partitions, 3 replicas.
    pub topic_defaults: TopicDefaults,
    /// Which records of transactions subscriptions see. Default those of committed ones.
    #[serde(with = "isolation_name")]
    pub isolation: Isolation,
    /// A member of a group that is silent for this long is taken for dead. Default 30 s.
    #[serde(with = "millis", rename = "session_timeout_ms")]
    pub session_timeout: Duration,
    /// How often a member says that it is alive. Default 3 s; lowered to a third of a short session time-out.
    #[serde(with = "millis", rename = "heartbeat_interval_ms")]
    pub heartbeat_interval: Duration,
    /// Fetched messages that wait for their handlers or are kept by them, at most, in bytes. Default 64 MiB.
    pub fetch_memory: usize,
    /// How long a broker waits for new messages before it answers that there are none. Default 500 ms.
    #[serde(with = "millis", rename = "fetch_max_wait_ms")]
    pub fetch_max_wait: Duration,
    /// A longer answer of a broker is refused, and its connection closed, in bytes. Default 100 MiB; 64 MiB at least. A
    /// batch that does not fit cannot be read.
    pub max_response_size: usize,
    /// A batch that grows larger than this when it is decompressed is refused, in bytes. Default 128 MiB.
    pub max_decompressed_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            client_id: "dispatcher".into(),
            default_group: None,
            monitor_host: None,
            tls: None,
            sasl: None,
            danger_sasl_without_tls: false,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            metadata_max_age: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            max_block: Duration::from_secs(60),
            linger: Duration::ZERO,
            batch_size: 1_000_000,
            buffer_memory: 64 << 20,
            max_message_size: 20_000_000,
            compression: Compression::None,
            topic_compression: BTreeMap::new(),
            compression_levels: CompressionLevels::default(),
            idempotence: true,
            backend: Backend::default(),
            partitioner: PartitionerKind::default(),
            envelope: Envelope::default(),
            trace_context: false,
            create_topics: true,
            topic_defaults: TopicDefaults::default(),
            isolation: Isolation::default(),
            session_timeout: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(3),
            fetch_memory: 64 << 20,
            fetch_max_wait: Duration::from_millis(500),
            max_response_size: 100 << 20,
            max_decompressed_size: 128 << 20,
        }
    }
}

impl Config {
    /// Refuses what cannot work, naming the option, before anything is sent.
    pub(crate) fn validate(&self) -> Result<()> {
        let bad = |text: String| Err(Error::new(ErrorKind::InvalidConfig, text));
        if self.brokers.iter().all(|b| b.trim().is_empty()) {
            return bad("no brokers are given: name at least one as host:port".into());
        }
        let day = Duration::from_secs(24 * 3600);
        for (name, value) in [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("metadata_max_age", self.metadata_max_age),
            ("delivery_timeout", self.delivery_timeout),
            ("session_timeout", self.session_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("fetch_max_wait", self.fetch_max_wait),
        ] {
            if value.is_zero() || value > day {
                return bad(format!("{name} is {value:?}: use more than 0 and at most 24 h"));
            }
        }
        if self.linger >= self.delivery_timeout {
            return bad("linger is not below delivery_timeout: shorten it".into());
        }
        for (name, value, least, most) in [
            ("batch_size", self.batch_size, 1, 1 << 30),
            ("max_message_size", self.max_message_size, 1, 1 << 30),
            ("buffer_memory", self.buffer_memory, 1 << 10, 1 << 40),
            ("fetch_memory", self.fetch_memory, 1 << 10, 1 << 40),
            ("max_response_size", self.max_response_size, 64 << 20, i32::MAX as usize),
            ("max_decompressed_size", self.max_decompressed_size, 1 << 10, 1 << 30),
        ] {
            if !(least..=most).contains(&value) {
                return bad(format!("{name} is {value}: use {least} to {most} bytes"));
            }
        }
        if let Some(sasl) = &self.sasl {
            sasl.validate()?;
            if self.tls.is_none() && !self.danger_sasl_without_tls {
                return bad(format!(
                    "SASL {} without TLS lets whoever listens learn or guess the secret: set `tls` \
                     (security.protocol=SASL_SSL), or allow it with `danger_sasl_without_tls` \
                     (dispatcher.allow.sasl.plaintext=true)",
                    sasl.mechanism()
                ));
            }
        }
        self.monitor_host.as_deref().map_or(Ok(()), monitor_host::check)?;
        self.topic_defaults.validate()
    }
}

/// Whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Serde functions for a choice that goes by its name.
macro_rules! by_name {
    ($module:ident, $type:ty, $parse:path, $name:path) => {
        mod $module {
            use serde::{Deserialize, Deserializer, Serializer};

            use super::*;

            pub(super) fn serialize<S: Serializer>(
                value: &$type,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str($name(*value))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<$type, D::Error> {
                let name = String::deserialize(deserializer)?;
                let refused = |rule| serde::de::Error::custom(format!("{name:?} is not one of: {rule}"));
                $parse(&name).map_err(refused)
            }
        }
    };
}

by_name!(compression_name, Compression, names::compression, names::of_compression);
by_name!(isolation_name, Isolation, names::isolation, names::of_isolation);

/// Serde functions for codecs by topic.
mod compression_names {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct ByName(#[serde(with = "compression_name")] Compression);

    pub(super) fn serialize<S: Serializer>(
        value: &BTreeMap<String, Compression>,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(value.iter().map(|(topic, &codec)| (topic, ByName(codec))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<BTreeMap<String, Compression>, D::Error> {
        let by_name = BTreeMap::<String, ByName>::deserialize(deserializer)?;
        Ok(by_name.into_iter().map(|(topic, ByName(codec))| (topic, codec)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_survives_serde() {
        let config = Config {
            brokers: vec!["a:1".into()],
            linger: Duration::from_millis(5),
            isolation: Isolation::ReadUncommitted,
            topic_compression: [("raw".into(), Compression::None)].into(),
            compression_levels: CompressionLevels { gzip: 1, ..CompressionLevels::default() },
            ..Config::default()
        };
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
        assert!(text.contains("\"linger_ms\":5") && text.contains("\"compression\":\"none\""), "{text}");
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let error = serde_json::from_str::<Config>(r#"{"linger": 5}"#).unwrap_err();
        assert!(error.to_string().contains("linger"), "{error}");
    }

    #[test]
    fn impossible_settings_are_refused_by_name() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config { brokers: vec!["a:1".into()], ..Config::default() };
            change(&mut config);
            config.validate().map_err(|e| e.to_string())
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert!(with(|c| c.brokers.clear()).unwrap_err().contains("host:port"));
        assert!(with(|c| c.delivery_timeout = Duration::ZERO).unwrap_err().contains("delivery_timeout"));
        assert!(with(|c| c.batch_size = 0).unwrap_err().contains("batch_size"));
        assert!(with(|c| c.max_response_size = 1 << 20).unwrap_err().contains("max_response_size"));
        assert!(with(|c| c.max_decompressed_size = 2 << 30).unwrap_err().contains("max_decompressed_size"));
        assert!(with(|c| c.topic_defaults.replicas = Some(0)).unwrap_err().contains("replicas"));
    }
}
