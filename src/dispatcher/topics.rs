//! Topics: made, listed, removed.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::core::Dispatcher;
use super::topic_defaults::TopicDefaults;
use super::validate;
use crate::client::TopicId;
use crate::client::admin::{NewTopic, TopicListing};
use crate::client::retry::Backoff;
use crate::error::{Error, ErrorKind, Result};

/// A topic as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo(TopicListing);

impl TopicInfo {
    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its id, which a topic of the same name made later does not share; `None` from clusters too old to tell.
    pub fn id(&self) -> Option<TopicId> {
        Some(self.0.id).filter(|id| !id.is_zero())
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> i32 {
        i32::try_from(self.0.partitions).unwrap_or(i32::MAX)
    }

    /// How many replicas its first partition has.
    pub fn replicas(&self) -> i16 {
        i16::try_from(self.0.replicas).unwrap_or(i16::MAX)
    }

    /// Whether it is one of Kafka's own, such as `__consumer_offsets`.
    pub fn is_internal(&self) -> bool {
        self.0.internal
    }
}

/// Topics that are about to be made; await it.
#[derive(Debug)]
#[must_use = "topics are made when this is awaited"]
pub struct CreateTopics<'a> {
    dispatcher: &'a Dispatcher,
    names: Vec<String>,
    defaults: TopicDefaults,
    configs: BTreeMap<String, String>,
}

impl CreateTopics<'_> {
    /// Another base than the dispatcher's [`topic_defaults`](super::Builder::topic_defaults).
    pub fn defaults(mut self, defaults: TopicDefaults) -> Self {
        self.defaults = defaults;
        self
    }

    /// Partitions of each.
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.defaults.partitions = Some(partitions);
        self
    }

    /// Replicas of each partition.
    pub fn replicas(mut self, replicas: i16) -> Self {
        self.defaults.replicas = Some(replicas);
        self
    }

    /// A topic setting by Kafka's name for it, such as `retention.ms`. Wins over the defaults.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }

    async fn run(self) -> Result<Vec<TopicInfo>> {
        let dispatcher = self.dispatcher;
        self.defaults.validate()?;
        let brokers = dispatcher.cluster().topology().brokers().count();
        for name in &self.names {
            validate::topic(name)?;
            self.defaults.check_brokers(name, brokers)?;
        }
        let mut configs: BTreeMap<String, String> = self.defaults.configs().into_iter().collect();
        configs.extend(self.configs);
        let new = |name: &String| NewTopic {
            name: name.clone(),
            partitions: self.defaults.partitions,
            replicas: self.defaults.replicas,
            configs: configs.clone().into_iter().collect(),
        };
        let topics: Vec<_> = self.names.iter().map(new).collect();
        for (_, made) in dispatcher.admin().create_topics(&topics).await? {
            made?;
        }
        dispatcher.until_listed(&self.names).await
    }
}

impl<'a> IntoFuture for CreateTopics<'a> {
    type Output = Result<Vec<TopicInfo>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl Dispatcher {
    /// Makes topics, with the dispatcher's [`topic_defaults`](super::Builder::topic_defaults) unless told otherwise.
    /// Awaited, it resolves to what was made, in the order of the names.
    ///
    /// # Errors
    /// The first topic that could not be made, an existing one included; others may have been made. Dropped before it
    /// ends, topics may or may not be made.
    pub fn create_topics<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> CreateTopics<'_> {
        CreateTopics {
            dispatcher: self,
            names: names.into_iter().map(Into::into).collect(),
            defaults: self.config().topic_defaults.clone(),
            configs: BTreeMap::new(),
        }
    }

    /// New topics are not known to every broker at once.
    async fn until_listed(&self, names: &[String]) -> Result<Vec<TopicInfo>> {
        let wanted: Vec<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
        let mut backoff = Backoff::new(self.cluster().config().retry_backoff);
        let deadline = self.env().now() + self.cluster().config().unknown_topic_wait;
        loop {
            let listed = self.admin().list_topics(Some(&wanted)).await?;
            let found: Option<Vec<_>> = wanted
                .iter()
                .map(|name| listed.iter().find(|t| t.name == *name && t.partitions > 0).cloned().map(TopicInfo))
                .collect();
            match found {
                Some(found) => return Ok(found),
                None if self.env().now() >= deadline => {
                    let text =
                        format!("{} was made, but brokers do not list it yet: look again later", names.join(", "));
                    return Err(Error::new(ErrorKind::Timeout, text));
                }
                None => {
                    let pause: Duration = self.env().random(|rng| backoff.next(rng));
                    self.env().sleep(pause).await;
                }
            }
        }
    }

    /// Removes topics and all their messages.
    ///
    /// # Errors
    /// The first topic that could not be removed, such as [`ErrorKind::UnknownTopic`]; others may have been removed.
    /// Dropped before it ends, topics may or may not be removed.
    pub async fn remove_topics<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<()> {
        let names: Vec<Arc<str>> = names.into_iter().map(|name| Arc::from(name.as_ref())).collect();
        names.iter().try_for_each(|name| validate::topic(name))?;
        let outcomes = self.admin().delete_topics(&names).await?;
        // One that was refused is there still, and whoever holds it goes on with it.
        let gone = |outcome: &Result<()>| match outcome {
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::UnknownTopic,
        };
        outcomes.iter().filter(|(_, outcome)| gone(outcome)).for_each(|(name, _)| self.forget_topic(name));
        outcomes.into_iter().try_for_each(|(_, outcome)| outcome)
    }

    /// All topics by name, without Kafka's own. Cancel-safe.
    pub async fn topics(&self) -> Result<Vec<TopicInfo>> {
        let mut topics: Vec<_> =
            self.admin().list_topics(None).await?.into_iter().filter(|t| !t.internal).map(TopicInfo).collect();
        topics.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(topics)
    }

    /// One topic.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownTopic`] if it does not exist. Cancel-safe.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicInfo> {
        validate::topic(name)?;
        let found = self.admin().list_topics(Some(&[name.into()])).await?;
        found
            .into_iter()
            .find(|t| &*t.name == name)
            .map(TopicInfo)
            .ok_or_else(|| Error::new(ErrorKind::UnknownTopic, format!("topic {name} does not exist: check the name")))
    }
}
