//! What a topic is made with, and the errors that a cluster too small for it deserves.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// What topics are made with: on first use, and by `create_topics`. `None` leaves a value to the brokers' own
/// defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TopicDefaults {
    /// Partitions. Default 10.
    pub partitions: Option<i32>,
    /// Copies of each partition, at most one on a broker. Default 3.
    pub replicas: Option<i16>,
    /// Copies that must have a message before it is acknowledged. Default one less than `replicas`, at least 1.
    pub min_insync_replicas: Option<i16>,
    /// The largest batch of messages the topic takes, in bytes. Default 20,000,000.
    pub max_message_bytes: Option<i32>,
}

impl Default for TopicDefaults {
    fn default() -> Self {
        Self { partitions: Some(10), replicas: Some(3), min_insync_replicas: None, max_message_bytes: Some(20_000_000) }
    }
}

impl TopicDefaults {
    /// The Go dispatcher's: 10 partitions, 3 replicas, all 3 of which must be there for every write. One broker down
    /// stops all writes.
    pub fn go() -> Self {
        Self { min_insync_replicas: Some(3), ..Self::default() }
    }

    /// Everything as the brokers are configured.
    pub fn auto() -> Self {
        Self { partitions: None, replicas: None, min_insync_replicas: None, max_message_bytes: None }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let bad = |name: &str, value: i64, rule: &str| {
            Err(Error::new(ErrorKind::InvalidConfig, format!("topic default {name} is {value}: use {rule}")))
        };
        match (self.partitions, self.replicas, self.min_insync_replicas, self.max_message_bytes) {
            (Some(n), ..) if !(1..=100_000).contains(&n) => bad("partitions", n.into(), "1 to 100,000"),
            (_, Some(n), ..) if n < 1 => bad("replicas", n.into(), "1 or more"),
            (_, replicas, Some(n), _) if n < 1 || replicas.is_some_and(|r| n > r) => {
                bad("min_insync_replicas", n.into(), "1 up to the number of replicas")
            }
            (.., Some(n)) if n < 1 => bad("max_message_bytes", n.into(), "1 or more"),
            _ => Ok(()),
        }
    }

    /// The topic's configuration entries.
    pub(crate) fn configs(&self) -> Vec<(String, String)> {
        let min_isr = self.min_insync_replicas.or(self.replicas.map(|r| (r - 1).max(1)));
        let entries = [
            ("min.insync.replicas", min_isr.map(|n| n.to_string())),
            ("max.message.bytes", self.max_message_bytes.map(|n| n.to_string())),
        ];
        entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// The same for a cluster of so many brokers, with fewer replicas if it must be.
    pub(crate) fn at_most(&self, brokers: usize) -> Self {
        let brokers = i16::try_from(brokers).unwrap_or(i16::MAX).max(1);
        let fits = |n: i16| n.min(brokers);
        let insync = self.min_insync_replicas.map(fits);
        Self { replicas: self.replicas.map(fits), min_insync_replicas: insync, ..self.clone() }
    }

    /// Says which option to change when the cluster is too small.
    pub(crate) fn check_brokers(&self, topic: &str, brokers: usize) -> Result<()> {
        match self.replicas {
            Some(replicas) if brokers > 0 && usize::from(replicas.unsigned_abs()) > brokers => Err(Error::new(
                ErrorKind::InvalidConfig,
                format!(
                    "topic {topic} cannot be made with {replicas} replicas on {brokers} broker{}: lower the option \
                     replicas (--replicas), or leave it to the brokers with auto_topic_defaults",
                    if brokers == 1 { "" } else { "s" }
                ),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broker_may_be_down_by_default_and_none_with_gos() {
        assert_eq!(TopicDefaults::default().configs()[0], ("min.insync.replicas".into(), "2".into()));
        assert_eq!(TopicDefaults::go().configs()[0].1, "3");
        let single = TopicDefaults { replicas: Some(1), ..TopicDefaults::default() };
        assert_eq!(single.configs()[0].1, "1");
        assert!(TopicDefaults::auto().configs().is_empty());
    }

    #[test]
    fn a_cluster_that_is_too_small_gets_an_error_that_names_the_option() {
        let text = TopicDefaults::default().check_brokers("orders", 1).unwrap_err().to_string();
        assert!(text.contains("orders") && text.contains("3 replicas") && text.contains("--replicas"), "{text}");
        assert!(TopicDefaults::default().check_brokers("orders", 3).is_ok());
        assert!(TopicDefaults::auto().check_brokers("orders", 1).is_ok());
    }
}
