//! Administration through rskafka as far as it goes: its controller client makes topics that have no settings of their own
//! and deletes topics, its partition clients look offsets up. Everything else, and what it cannot ask for, goes over this
//! crate's own connections.

use std::collections::BTreeMap;
use std::time::Duration;

use std::sync::Arc;

use ::rskafka::chrono::DateTime;
use ::rskafka::client::error::Error as Theirs;
use ::rskafka::client::partition::OffsetAt as TheirOffsetAt;
use async_trait::async_trait;
use futures_util::stream::{StreamExt, iter};

use super::open::MAX_CONNECTIONS;
use super::{Common, judge};
use crate::client::admin::{
    ClusterAdmin, CommittedOffset, ConfigsOf, Each, EpochEnd, GroupDescription, GroupListing, NativeAdmin, NewTopic,
    TopicListing,
};
use crate::client::types::{Isolation, OffsetAt, Position, TopicName, TopicPartition};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;

/// Partitions asked at one time, each over a connection of its own.
const AT_ONCE: usize = 16;

/// See the module.
pub(crate) struct RskafkaAdmin {
    common: Arc<Common>,
    native: NativeAdmin,
    limit: Duration,
}

impl RskafkaAdmin {
    pub(super) fn new(common: Arc<Common>) -> Self {
        let limit = common.cluster.config().request_timeout;
        Self { native: NativeAdmin::new(common.cluster.clone()), common, limit }
    }

    /// Makes or deletes a topic through a controller client of its own, as the request waits on the server.
    async fn on_controller(&self, api: &str, name: &TopicName, delete: bool, new: Option<(i32, i16)>) -> Result<()> {
        let client = self.common.opener.client(self.limit).await?;
        let timeout = i32::try_from(self.limit.as_millis()).unwrap_or(i32::MAX);
        let call = async {
            let controller = client.controller_client()?;
            match new {
                Some((partitions, replicas)) if !delete => {
                    controller.create_topic(&**name, partitions, replicas, timeout).await
                }
                _ => controller.delete_topic(&**name, timeout).await,
            }
        };
        match self.common.cluster.env().timeout(self.limit, call).await {
            Some(done) => done.map_err(|error| judge::error(&error, format_args!("{api} of {name}"))),
            None => {
                self.common.opener.forget(&client);
                let text = format!("{api} of {name}: no answer within {:?}", self.limit);
                Err(Error::new(ErrorKind::Timeout, text))
            }
        }
    }

    /// Repeats what may pass within the limit; `already` is what a repetition gets when an earlier try did work.
    async fn repeated(&self, api: &str, name: &TopicName, already: ErrorCode, new: Option<(i32, i16)>) -> Result<()> {
        let in_doubt = std::sync::atomic::AtomicBool::new(false);
        let in_doubt = &in_doubt;
        let attempt = || async move {
            let done = self.on_controller(api, name, new.is_none(), new).await;
            match &done {
                Err(error) if error.code() == Some(already) => {
                    let worked = in_doubt.load(std::sync::atomic::Ordering::Relaxed);
                    return Ok(if worked { Ok(()) } else { done });
                }
                Err(error) if error.code().is_none_or(|code| code == ErrorCode::REQUEST_TIMED_OUT) => {
                    in_doubt.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                _ => {}
            }
            done.map(Ok)
        };
        self.common.cluster.retrying(api, self.limit, attempt).await?
    }

    /// One partition's offset; `once`: without a second try, within that time.
    async fn offset(&self, tp: &TopicPartition, at: TheirOffsetAt, once: Option<Duration>) -> Result<Option<Position>> {
        let Some(patience) = once else {
            let what = "looking offsets up";
            self.known(tp).await?;
            return self.common.cluster.retrying(what, self.limit, || self.offset_now(tp, at, self.limit)).await;
        };
        let look = async {
            self.known(tp).await?;
            self.offset_now(tp, at, patience).await
        };
        let late = || Error::new(ErrorKind::Timeout, format!("ListOffsets of {tp}: no answer within {patience:?}"));
        self.common.cluster.env().timeout(patience, look).await.ok_or_else(late)?
    }

    /// rskafka takes an unknown partition for a broken answer.
    async fn known(&self, tp: &TopicPartition) -> Result<()> {
        match self.common.cluster.topic(&tp.topic).await?.partition(tp.partition) {
            Some(_) => Ok(()),
            None => {
                let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                Err(Error::from_code(unknown, format_args!("ListOffsets of {tp}")))
            }
        }
    }

    async fn offset_now(&self, tp: &TopicPartition, at: TheirOffsetAt, limit: Duration) -> Result<Option<Position>> {
        let common = &self.common;
        let opened = common.opener.open(tp, limit).await?;
        let asked = common.cluster.env().timeout(limit, opened.client.get_offset(at)).await;
        let context = format_args!("ListOffsets of {tp}");
        let none = || Error::new(ErrorKind::Timeout, format!("{context}: no answer within {limit:?}"));
        let offset = asked.ok_or_else(none)?.map_err(|error: Theirs| judge::error(&error, context))?;
        let topic_id = common.cluster.topology().topic(&tp.topic).map(|t| t.id).unwrap_or_default();
        Ok((offset >= 0).then_some(Position { offset, leader_epoch: -1, topic_id }))
    }

    /// Offsets of many, as far as rskafka can ask for them; `None` where it cannot.
    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
        once: Option<Duration>,
    ) -> Option<Each<TopicPartition, Option<Position>>> {
        let at = match at {
            OffsetAt::Earliest => TheirOffsetAt::Earliest,
            // rskafka asks for the end of what is committed, whatever one would like.
            OffsetAt::Latest if isolation == Isolation::ReadCommitted => TheirOffsetAt::Latest,
            OffsetAt::Latest => return None,
            OffsetAt::Timestamp(ms) => TheirOffsetAt::Timestamp(DateTime::from_timestamp_millis(ms.max(0))?),
        };
        // None may wait for another's leader.
        let at_once = if once.is_some() { MAX_CONNECTIONS } else { AT_ONCE };
        let asked = partitions.iter().map(|tp| async move { (tp.clone(), self.offset(tp, at, once).await) });
        Some(iter(asked.collect::<Vec<_>>()).buffered(at_once).collect().await)
    }
}

#[async_trait]
impl ClusterAdmin for RskafkaAdmin {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<Each<TopicName, ()>> {
        let mut made = Vec::with_capacity(topics.len());
        for topic in topics {
            if !topic.configs.is_empty() {
                made.extend(self.native.create_topics(std::slice::from_ref(topic)).await?);
                continue;
            }
            let name: TopicName = topic.name.as_str().into();
            let new = (topic.partitions.unwrap_or(-1), topic.replicas.unwrap_or(-1));
            let done = self.repeated("CreateTopics", &name, ErrorCode::TOPIC_ALREADY_EXISTS, Some(new)).await;
            made.push((name, done));
        }
        Ok(made)
    }

    async fn delete_topics(&self, names: &[TopicName]) -> Result<Each<TopicName, ()>> {
        let mut gone = Vec::with_capacity(names.len());
        for name in names {
            let done = self.repeated("DeleteTopics", name, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None).await;
            if done.is_ok() {
                self.common.cluster.forget_topic(name);
            }
            gone.push((name.clone(), done));
        }
        Ok(gone)
    }

    async fn list_topics(&self, names: Option<&[TopicName]>) -> Result<Vec<TopicListing>> {
        self.native.list_topics(names).await
    }

    async fn describe_configs(
        &self,
        of: &ConfigsOf,
        keys: Option<&[&str]>,
    ) -> Result<BTreeMap<String, Option<String>>> {
        self.native.describe_configs(of, keys).await
    }

    async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        self.native.list_groups().await
    }

    async fn describe_groups(&self, groups: &[String]) -> Result<Each<String, GroupDescription>> {
        self.native.describe_groups(groups).await
    }

    async fn delete_groups(&self, groups: &[String]) -> Result<Each<String, ()>> {
        self.native.delete_groups(groups).await
    }

    async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
    ) -> Result<Each<TopicPartition, Option<Position>>> {
        match self.offsets(partitions, at, isolation, None).await {
            Some(found) => Ok(found),
            None => self.native.list_offsets(partitions, at, isolation).await,
        }
    }

    async fn list_offsets_once(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
        patience: Duration,
    ) -> Result<Each<TopicPartition, Option<Position>>> {
        match self.offsets(partitions, at, isolation, Some(patience)).await {
            Some(found) => Ok(found),
            None => self.native.list_offsets_once(partitions, at, isolation, patience).await,
        }
    }

    async fn epoch_ends_once(
        &self,
        asked: &[(TopicPartition, i32)],
        patience: Duration,
    ) -> Result<Each<TopicPartition, EpochEnd>> {
        self.native.epoch_ends_once(asked, patience).await
    }

    async fn epoch_ends(&self, asked: &[(TopicPartition, i32)]) -> Result<Each<TopicPartition, EpochEnd>> {
        self.native.epoch_ends(asked).await
    }

    async fn committed_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        stable: bool,
    ) -> Result<Each<TopicPartition, Option<CommittedOffset>>> {
        self.native.committed_offsets(group, partitions, stable).await
    }

    async fn commit_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Each<TopicPartition, ()>> {
        self.native.commit_offsets(group, offsets).await
    }
}
