//! How far a consumer group has got with a topic: computed from the cluster itself, or as a monitor service says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::core::Dispatcher;
use super::{monitor_host, validate};
use crate::client::Isolation;
use crate::client::admin::{self, CommittedOffset};
use crate::client::types::{OffsetAt, TopicPartition};
use crate::error::{Error, ErrorKind, Result};
use crate::worker::{Finished, LogId};

/// Where a [`ConsumeStatus`] comes from, and so what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusSource {
    /// From the cluster: state, members and partitions are known.
    Cluster,
    /// From the [`monitor_host`](super::Builder::monitor_host), which says the lag as a whole and nothing else: there is
    /// no state, and the lists of members and partitions are empty because nothing is known of them.
    MonitorHost,
}

/// A consumer group's progress with one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumeStatus {
    topic: String,
    group: Option<String>,
    state: Option<String>,
    members: Vec<GroupMember>,
    partitions: Vec<PartitionStatus>,
    /// What a monitor service said, which knows no partitions.
    said: Option<i64>,
}

impl ConsumeStatus {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The group under Kafka's name for it; `None` if only the topic was asked for.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Who was asked: what else is known depends on it.
    pub fn source(&self) -> StatusSource {
        if self.said.is_some() { StatusSource::MonitorHost } else { StatusSource::Cluster }
    }

    /// The group's state in Kafka's spelling, such as `Stable`, `Empty`, or `Dead` for one that does not exist. `None`
    /// from a monitor host, or if only the topic was asked for.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The group's members, with their partitions of all topics. Empty from a monitor host, which does not tell.
    pub fn members(&self) -> &[GroupMember] {
        &self.members
    }

    /// The topic's partitions in order. Empty from a monitor host, which does not tell.
    pub fn partitions(&self) -> &[PartitionStatus] {
        &self.partitions
    }

    /// Messages that the group has not committed yet, over all partitions.
    pub fn total_lag(&self) -> i64 {
        self.said.unwrap_or_else(|| self.partitions.iter().filter_map(PartitionStatus::lag).sum())
    }
}

impl ConsumeStatus {
    fn unknown(topic: &str, group: Option<String>) -> Self {
        let (members, partitions) = (Vec::new(), Vec::new());
        Self { topic: topic.to_owned(), group, state: None, members, partitions, said: None }
    }
}

/// A member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    member_id: String,
    client_id: String,
    host: String,
    instance_id: Option<String>,
    partitions: Vec<(String, i32)>,
}

impl GroupMember {
    pub(super) fn new(member: admin::GroupMember) -> Self {
        let mut partitions: Vec<_> =
            member.assignment.into_iter().map(|tp| (tp.topic.to_string(), tp.partition)).collect();
        partitions.sort();
        let admin::GroupMember { member_id, client_id, host, instance_id, .. } = member;
        Self { member_id, client_id, host, instance_id, partitions }
    }

    /// The name the coordinator gave it.
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// The name its client goes by.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Where it connects from.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its instance id, if it is a static member.
    pub fn instance_id(&self) -> Option<&str> {
        self.instance_id.as_deref()
    }

    /// Topics and partitions it owns, in order.
    pub fn partitions(&self) -> &[(String, i32)] {
        &self.partitions
    }
}

/// One partition's log, and the group's place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    partition: i32,
    log_start: i64,
    log_end: i64,
    last_stable: i64,
    committed: Option<i64>,
    lag: Option<i64>,
    member_id: Option<String>,
    finished_ahead: Vec<(i64, i64)>,
    waits_until_ms: Option<i64>,
}

impl PartitionStatus {
    /// The partition, from 0.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The first offset that is still there.
    pub fn log_start(&self) -> i64 {
        self.log_start
    }

    /// The high watermark: the offset after the last message that all in-sync replicas have.
    pub fn log_end(&self) -> i64 {
        self.log_end
    }

    /// The offset up to which no transaction is open.
    pub fn last_stable(&self) -> i64 {
        self.last_stable
    }

    /// The offset the group goes on at; `None` if it has committed none, or no group was asked for.
    pub fn committed(&self) -> Option<i64> {
        self.committed
    }

    /// `log_end` − `committed`, as Kafka's tools count; all that is there if nothing is committed. `None` if no group
    /// was asked for.
    pub fn lag(&self) -> Option<i64> {
        self.lag
    }

    /// Who owns the partition now.
    pub fn member_id(&self) -> Option<&str> {
        self.member_id.as_deref()
    }

    /// Offsets above [`committed`](Self::committed) whose messages are handled already, as ranges from their first offset
    /// to the one after their last, in order. Where there are any, the message at `committed` is still being handled, or
    /// is held because it failed. Members of this library say so beside their commits, as far as there is room; of other
    /// clients' it is always empty.
    pub fn finished_ahead(&self) -> &[(i64, i64)] {
        &self.finished_ahead
    }

    /// Until when the message at [`committed`](Self::committed) waits: ms since 1970, on its owner's clock. Of partitions of
    /// [retry topics](crate::RetryPolicy::through_topics) whose next message is not due for 10 s or more when it is seen;
    /// the time may be over by now.
    pub fn waits_until_ms(&self) -> Option<i64> {
        self.waits_until_ms
    }
}

impl Dispatcher {
    /// How far a group has got with a topic. The Kafka group is `<group>:<topic>`, as
    /// [`Subscribe::group`](super::Subscribe::group) makes it. Changes nothing in the cluster. With a
    /// [`monitor_host`](super::Builder::monitor_host) that service is asked instead of Kafka.
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// let status = dispatcher.consume_status("orders", "billing").await?;
    /// println!("{:?} is {} messages behind", status.group(), status.total_lag());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::UnknownTopic`] if the topic does not exist. A group that does not exist is no error: its state is
    /// `Dead`. Of a monitor host: [`ErrorKind::Connection`] if it cannot be reached or is not able to answer (status 5xx),
    /// [`ErrorKind::Timeout`] after `request_timeout`, [`ErrorKind::InvalidArgument`] with its words if it refuses the
    /// question (400), [`ErrorKind::Protocol`] for any other status and for what is no lag. Cancel-safe.
    pub async fn consume_status(&self, topic: &str, group: &str) -> Result<ConsumeStatus> {
        validate::topic(topic)?;
        validate::group(group)?;
        self.ask_status(topic, validate::group_of_topic(group, topic)).await
    }

    /// [`consume_status`](Self::consume_status) of a Kafka group exactly as named.
    ///
    /// # Errors
    /// As [`consume_status`](Self::consume_status). Cancel-safe.
    pub async fn consume_status_exact(&self, topic: &str, group: &str) -> Result<ConsumeStatus> {
        validate::topic(topic)?;
        validate::group(group)?;
        self.ask_status(topic, group.to_owned()).await
    }

    /// The partitions of a topic, without a group; always from Kafka.
    ///
    /// # Errors
    /// As [`consume_status`](Self::consume_status). Cancel-safe.
    pub async fn topic_status(&self, topic: &str) -> Result<ConsumeStatus> {
        self.status_of(topic, None).await
    }

    pub(super) async fn ask_status(&self, topic: &str, group: String) -> Result<ConsumeStatus> {
        let Some(host) = &self.config().monitor_host else {
            return self.status_of(topic, Some(group)).await;
        };
        let lag = monitor_host::lag(host, &group, topic, self.env(), self.config()).await?;
        Ok(ConsumeStatus { said: Some(lag), ..ConsumeStatus::unknown(topic, Some(group)) })
    }

    async fn status_of(&self, topic: &str, group: Option<String>) -> Result<ConsumeStatus> {
        let count = self.existing_topic(topic).await?.partitions.len() as i32;
        let topic: Arc<str> = topic.into();
        let tps: Vec<_> = (0..count).map(|p| TopicPartition::new(topic.clone(), p)).collect();
        let mut status = ConsumeStatus::unknown(&topic, group.clone());
        let mut committed = BTreeMap::new();
        if let Some(group) = &group {
            let (described, found) =
                tokio::try_join!(self.described(group), self.admin().committed_offsets(group, Some(&tps), false))?;
            status.state = Some(described.state);
            status.members = described.members.into_iter().map(GroupMember::new).collect();
            for (tp, offset) in found {
                committed.extend(offset?.map(|offset| (tp, offset)));
            }
        }
        status.partitions = self.places(&tps, group.as_ref().map(|_| &committed), &status.members).await?;
        Ok(status)
    }

    pub(super) async fn described(&self, group: &str) -> Result<admin::GroupDescription> {
        let answers = self.admin().describe_groups(&[group.to_owned()]).await?;
        answers.into_iter().next().map(|(_, described)| described).unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Protocol, format!("the broker left group {group} out of its answer: try again")))
        })
    }

    /// The logs of partitions of one topic, and a group's places in them.
    pub(super) async fn places(
        &self,
        tps: &[TopicPartition],
        committed: Option<&BTreeMap<TopicPartition, CommittedOffset>>,
        members: &[GroupMember],
    ) -> Result<Vec<PartitionStatus>> {
        let offsets = async |at, isolation| -> Result<BTreeMap<TopicPartition, i64>> {
            let answers = self.admin().list_offsets(tps, at, isolation).await?;
            answers.into_iter().map(|(tp, position)| Ok((tp, position?.map_or(-1, |p| p.offset)))).collect()
        };
        let (starts, ends, stables) = tokio::try_join!(
            offsets(OffsetAt::Earliest, Isolation::ReadUncommitted),
            offsets(OffsetAt::Latest, Isolation::ReadUncommitted),
            offsets(OffsetAt::Latest, Isolation::ReadCommitted),
        )?;
        let mut owners = BTreeMap::new();
        for member in members.iter().rev() {
            owners.extend(member.partitions.iter().map(|(topic, partition)| ((&**topic, *partition), member)));
        }
        let topology = self.cluster().topology();
        let log = |tp: &TopicPartition| {
            let topic = topology.topic(&tp.topic).map(|t| t.id).unwrap_or_default();
            LogId::new(topology.cluster_id.as_deref(), topic)
        };
        let place = |tp: &TopicPartition| {
            let of = |offsets: &BTreeMap<TopicPartition, i64>| offsets.get(tp).copied().unwrap_or(-1);
            let (log_start, log_end) = (of(&starts), of(&ends));
            let found = committed.and_then(|c| c.get(tp));
            let offset = found.map(|found| found.offset);
            PartitionStatus {
                partition: tp.partition,
                log_start,
                log_end,
                last_stable: of(&stables),
                committed: offset,
                lag: committed.map(|_| log_end - offset.unwrap_or(log_start)),
                member_id: owners.get(&(&*tp.topic, tp.partition)).map(|m| m.member_id.clone()),
                finished_ahead: found
                    .and_then(|found| Finished::decode(&found.metadata, log(tp), found.offset))
                    .map_or_else(Vec::new, |finished| finished.runs),
                waits_until_ms: found.and_then(|found| Finished::waits_until(&found.metadata, log(tp), found.offset)),
            }
        };
        Ok(tps.iter().map(place).collect())
    }
}
