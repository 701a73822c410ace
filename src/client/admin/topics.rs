//! Topics: create, delete, list; and the settings of topics and brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{ConfigsOf, Each, NativeAdmin, NewTopic, TopicListing};
use crate::client::Use;
use crate::client::retry::Backoff;
use crate::client::types::TopicName;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;
use crate::wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use crate::wire::messages::delete_topics::DeleteTopicState;
use crate::wire::messages::describe_configs::Resource;
use crate::wire::messages::metadata::RequestTopic;
use crate::wire::messages::{CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, MetadataRequest};
use crate::wire::{ErrorCode, StrBytes};

/// The broker waits as long as it is told before it answers; the answer itself takes time too.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// A broker's answer about one topic, and how long it wants the client to wait.
struct Answered {
    topics: Vec<(TopicName, ErrorCode, Option<StrBytes>)>,
    throttle: Duration,
}

impl NativeAdmin {
    pub(super) async fn create(&self, topics: &[NewTopic]) -> Result<Each<TopicName, ()>> {
        let names: Vec<TopicName> = topics.iter().map(|t| t.name.as_str().into()).collect();
        let create = |connection: Connection, left: BTreeSet<TopicName>| async move {
            let topics = topics.iter().filter(|t| left.contains(t.name.as_str())).map(|t| CreatableTopic {
                name: t.name.as_str().into(),
                num_partitions: t.partitions.unwrap_or(-1),
                replication_factor: t.replicas.unwrap_or(-1),
                configs: t.configs.iter().map(config).collect(),
                ..Default::default()
            });
            let timeout_ms = self.limit.as_millis() as i32;
            let request = CreateTopicsRequest { topics: topics.collect(), timeout_ms, ..Default::default() };
            let response = connection.ask(&request, self.limit + ANSWER_MARGIN).await?;
            let topics = response.topics.into_iter().map(|t| (Arc::from(&*t.name), t.error_code, t.error_message));
            Ok(Answered { topics: topics.collect(), throttle: millis(response.throttle_time_ms) })
        };
        self.per_topic("CreateTopics", names, ErrorCode::TOPIC_ALREADY_EXISTS, create).await
    }

    pub(super) async fn delete(&self, names: &[TopicName]) -> Result<Each<TopicName, ()>> {
        let delete = |connection: Connection, left: BTreeSet<TopicName>| async move {
            let text: Vec<StrBytes> = left.into_iter().map(StrBytes::from).collect();
            let states = text.iter().map(|n| DeleteTopicState { name: Some(n.clone()), ..Default::default() });
            let version = connection.version::<DeleteTopicsRequest>(None)?;
            let timeout_ms = self.limit.as_millis() as i32;
            let request = match version {
                6.. => DeleteTopicsRequest { topics: states.collect(), timeout_ms, ..Default::default() },
                _ => DeleteTopicsRequest { topic_names: text, timeout_ms, ..Default::default() },
            };
            let response = connection.call(&request, version, self.limit + ANSWER_MARGIN).await?;
            let topics = response.responses.into_iter();
            let topics = topics.map(|t| (Arc::from(&*t.name.unwrap_or_default()), t.error_code, t.error_message));
            Ok(Answered { topics: topics.collect(), throttle: millis(response.throttle_time_ms) })
        };
        let done =
            self.per_topic("DeleteTopics", names.to_vec(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, delete).await?;
        for (name, _) in done.iter().filter(|(_, outcome)| outcome.is_ok()) {
            self.cluster.forget_topic(name);
        }
        Ok(done)
    }

    /// Repeats `call` for the topics that are not settled. `already` is what a repetition gets when an earlier try of
    /// unknown outcome did work.
    async fn per_topic<F>(
        &self,
        api: &str,
        names: Vec<TopicName>,
        already: ErrorCode,
        call: impl Fn(Connection, BTreeSet<TopicName>) -> F,
    ) -> Result<Each<TopicName, ()>>
    where
        F: Future<Output = Result<Answered>>,
    {
        let env = self.cluster.env();
        let deadline = env.now() + self.limit;
        let mut backoff = Backoff::new(self.cluster.config().retry_backoff);
        let mut left: BTreeSet<TopicName> = names.iter().cloned().collect();
        let mut settled: BTreeMap<TopicName, Result<()>> = BTreeMap::new();
        let mut in_doubt = false;
        while !left.is_empty() {
            let mut pause = env.random(|rng| backoff.next(rng));
            let last = |now| now + pause >= deadline;
            let connection = self.controller().await;
            let outcome = match connection {
                Ok(connection) => {
                    let outcome = call(connection, left.clone()).await;
                    in_doubt |= outcome.is_err();
                    outcome
                }
                Err(e) => Err(e),
            };
            match outcome {
                Ok(answered) => {
                    let last = last(env.now());
                    for (name, code, message) in answered.topics {
                        if code == ErrorCode::NOT_CONTROLLER {
                            self.cluster.refresh();
                        }
                        in_doubt |= code == ErrorCode::REQUEST_TIMED_OUT;
                        // UNKNOWN_TOPIC is Kafka-retriable, but here it is the answer.
                        let again = (code.is_retriable() && code != already) && !last;
                        if again || !left.remove(&name) {
                            continue;
                        }
                        let fine = code == ErrorCode::NONE || (code == already && in_doubt);
                        let context = || match message.filter(|m| !m.is_empty()) {
                            Some(message) => format!("{api} of {name} ({})", &*message),
                            None => format!("{api} of {name}"),
                        };
                        let outcome = if fine { Ok(()) } else { Err(Error::from_code(code, context())) };
                        settled.insert(name, outcome);
                    }
                    pause = pause.max(answered.throttle.min(deadline.saturating_duration_since(env.now())));
                }
                Err(error) if error.is_retriable() && !last(env.now()) => self.cluster.refresh(),
                Err(error) => return Err(error),
            }
            if !left.is_empty() {
                if env.now() >= deadline {
                    let missing = left.iter().map(|n| &**n).collect::<Vec<_>>().join(", ");
                    let message = format!("{api} of {missing}: no answer within {:?}", self.limit);
                    return Err(Error::new(ErrorKind::Timeout, message));
                }
                env.sleep(pause).await;
            }
        }
        let outcome = |name: TopicName| settled.remove(&name).map(|outcome| (name, outcome));
        Ok(names.into_iter().filter_map(outcome).collect())
    }

    /// A connection of its own, since the broker answers only when it is done. Under KRaft any broker forwards.
    async fn controller(&self) -> Result<Connection> {
        let topology = self.cluster.topology();
        if topology.broker(topology.controller).is_some()
            && let Ok(connection) = self.cluster.connection(topology.controller, Use::OneOff).await
        {
            return Ok(connection);
        }
        let mut last = Error::new(ErrorKind::Connection, "no broker is known");
        for broker in topology.brokers() {
            match self.cluster.connection(broker.id, Use::OneOff).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) async fn topics(&self, names: Option<&[TopicName]>) -> Result<Vec<TopicListing>> {
        let asked = |name: &TopicName| RequestTopic { name: Some(name.clone().into()), ..Default::default() };
        let topics = names.map(|names| names.iter().map(asked).collect());
        let request = &MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let response = self.cluster.retrying("listing topics", self.limit, || async move {
            let response = self.cluster.any_connection().await?.ask(request, self.limit).await?;
            match response.error_code {
                ErrorCode::NONE => Ok(response),
                code => Err(Error::from_code(code, "Metadata")),
            }
        });
        let listed = response.await?.topics.into_iter().filter(|t| {
            // Without a leader it is a topic all the same.
            matches!(t.error_code, ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE)
        });
        Ok(listed
            .map(|t| TopicListing {
                name: Arc::from(&*t.name.unwrap_or_default()),
                id: t.topic_id,
                partitions: t.partitions.len(),
                replicas: t.partitions.first().map_or(0, |p| p.replica_nodes.len()),
                internal: t.is_internal,
            })
            .collect())
    }

    #[allow(dead_code, reason = "see describe_configs")]
    pub(super) async fn configs(
        &self,
        of: &ConfigsOf,
        keys: Option<&[&str]>,
    ) -> Result<BTreeMap<String, Option<String>>> {
        let (resource_type, name, broker) = match of {
            ConfigsOf::Topic(name) => (2, name.to_string(), None),
            ConfigsOf::Broker(id) => (4, id.to_string(), Some(*id)),
        };
        let what = format!("DescribeConfigs of {name}");
        let resource = Resource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: keys.map(|keys| keys.iter().map(|&k| k.into()).collect()),
        };
        let (request, what) = (&DescribeConfigsRequest { resources: vec![resource], ..Default::default() }, &what);
        self.cluster
            .retrying(what, self.limit, || async move {
                let connection = match broker {
                    Some(id) => self.cluster.connection(id, Use::Control).await?,
                    None => self.cluster.any_connection().await?,
                };
                let mut response = connection.ask(request, self.limit).await?;
                let nothing = || Error::new(ErrorKind::Protocol, format!("{what}: the answer is empty"));
                let result = response.results.pop().ok_or_else(nothing)?;
                if result.error_code != ErrorCode::NONE {
                    return Err(Error::from_code(result.error_code, what));
                }
                let configs = result.configs.into_iter();
                Ok(configs.map(|c| (c.name.to_string(), c.value.map(|v| v.to_string()))).collect())
            })
            .await
    }
}

fn config((name, value): &(String, String)) -> CreatableTopicConfig {
    CreatableTopicConfig { name: name.as_str().into(), value: Some(value.as_str().into()) }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
