//! Consumer groups as Kafka names them: listed, described, deleted, reset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::core::Dispatcher;
use super::status::{GroupMember, PartitionStatus};
use super::validate;
use crate::client::Isolation;
use crate::client::admin::{CommittedOffset, GroupListing};
use crate::client::types::{OffsetAt, TopicPartition};
use crate::error::{Error, ErrorKind, Result};

/// A group in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo(GroupListing);

impl GroupInfo {
    /// Kafka's name of the group.
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// Its state in Kafka's spelling; empty from brokers too old to tell.
    pub fn state(&self) -> &str {
        &self.0.state
    }

    /// What kind of group it is; `consumer` for consumers.
    pub fn protocol(&self) -> &str {
        &self.0.protocol_type
    }
}

/// A group, its members, and how far it has got with each of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    group: String,
    state: String,
    members: Vec<GroupMember>,
    topics: Vec<TopicProgress>,
}

impl GroupDescription {
    /// Kafka's name of the group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Its state in Kafka's spelling; `Dead` for one that does not exist.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Its members.
    pub fn members(&self) -> &[GroupMember] {
        &self.members
    }

    /// Topics it has committed offsets of, or owns partitions of, by name.
    pub fn topics(&self) -> &[TopicProgress] {
        &self.topics
    }
}

/// A group's progress with one of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicProgress {
    topic: String,
    partitions: Vec<PartitionStatus>,
}

impl TopicProgress {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its partitions in order.
    pub fn partitions(&self) -> &[PartitionStatus] {
        &self.partitions
    }

    /// Messages not committed yet, over all partitions.
    pub fn total_lag(&self) -> i64 {
        self.partitions.iter().filter_map(PartitionStatus::lag).sum()
    }
}

/// Where a group goes on after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetTo {
    /// At the first message that is still there.
    Oldest,
    /// After the last message.
    Newest,
    /// At this offset, in every partition; brought within the log where it is outside.
    Offset(i64),
    /// At the first message of this time (ms since 1970) or later; after the last one if there is none.
    TimestampMs(i64),
    /// At the first message that is at most this old; after the last one if there is none.
    Ago(Duration),
}

impl Dispatcher {
    /// All groups of the cluster, by name. Cancel-safe.
    pub async fn groups(&self) -> Result<Vec<GroupInfo>> {
        let mut groups: Vec<_> = self.admin().list_groups().await?.into_iter().map(GroupInfo).collect();
        groups.sort_by(|a, b| a.group().cmp(b.group()));
        Ok(groups)
    }

    /// A group under Kafka's name for it. Cancel-safe.
    ///
    /// # Errors
    /// Only failures to ask: a group that does not exist has the state `Dead`.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        validate::group(group)?;
        let (described, committed) =
            tokio::try_join!(self.described(group), self.admin().committed_offsets(group, None, false))?;
        let members: Vec<_> = described.members.into_iter().map(GroupMember::new).collect();
        let mut offsets = BTreeMap::new();
        for (tp, offset) in committed {
            offsets.extend(offset?.map(|offset| (tp, offset)));
        }
        let mut names: BTreeSet<Arc<str>> = offsets.keys().map(|tp| tp.topic.clone()).collect();
        names.extend(members.iter().flat_map(|m| m.partitions()).map(|(topic, _)| Arc::from(topic.as_str())));
        let mut topics = Vec::with_capacity(names.len());
        for name in names {
            // Offsets outlive their topic.
            let Some(meta) = self.cluster().find_topic(&name).await? else { continue };
            let tps: Vec<_> = (0..meta.partitions.len() as i32).map(|p| TopicPartition::new(name.clone(), p)).collect();
            let partitions = self.places(&tps, Some(&offsets), &members).await?;
            topics.push(TopicProgress { topic: name.to_string(), partitions });
        }
        Ok(GroupDescription { group: group.to_owned(), state: described.state, members, topics })
    }

    /// Deletes a group without members, and what it has committed.
    ///
    /// # Errors
    /// It has members, or does not exist. Dropped before it ends, the group may or may not be deleted.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        validate::group(group)?;
        let outcomes = self.admin().delete_groups(&[group.to_owned()]).await?;
        outcomes.into_iter().try_for_each(|(_, outcome)| outcome)
    }

    /// Sets where a group goes on with a topic, and returns each partition's new committed offset.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] while the group has members, [`ErrorKind::UnknownTopic`] for a topic that does
    /// not exist. Dropped before it ends, offsets may or may not be set.
    pub async fn reset_group(&self, group: &str, topic: &str, to: ResetTo) -> Result<Vec<(i32, i64)>> {
        validate::group(group)?;
        let state = self.described(group).await?.state;
        if !matches!(state.as_str(), "Empty" | "Dead") {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("group {group} is in use (state {state}): stop its members before a reset"),
            ));
        }
        let count = self.existing_topic(topic).await?.partitions.len() as i32;
        let topic: Arc<str> = topic.into();
        let tps: Vec<_> = (0..count).map(|p| TopicPartition::new(topic.clone(), p)).collect();
        let logs = self.places(&tps, None, &[]).await?;
        let to = match to {
            ResetTo::Ago(ago) => {
                let ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                ResetTo::TimestampMs(self.env().wall_ms().saturating_sub(ms).max(0))
            }
            other => other,
        };
        let mut young = BTreeMap::new();
        if let ResetTo::TimestampMs(ms) = to {
            let at = OffsetAt::Timestamp(ms);
            for (tp, found) in self.admin().list_offsets(&tps, at, Isolation::ReadUncommitted).await? {
                young.extend(found?.map(|position| (tp.partition, position.offset)));
            }
        }
        let target = |log: &PartitionStatus| match to {
            ResetTo::Oldest => log.log_start(),
            ResetTo::Newest => log.log_end(),
            ResetTo::Offset(offset) => offset.clamp(log.log_start(), log.log_end()),
            ResetTo::TimestampMs(_) | ResetTo::Ago(_) => young.get(&log.partition()).copied().unwrap_or(log.log_end()),
        };
        let offsets: Vec<_> = tps
            .into_iter()
            .zip(&logs)
            .map(|(tp, log)| (tp, CommittedOffset { offset: target(log), leader_epoch: -1, metadata: String::new() }))
            .collect();
        for (_, outcome) in self.admin().commit_offsets(group, &offsets).await? {
            outcome?;
        }
        Ok(offsets.into_iter().map(|(tp, committed)| (tp.partition, committed.offset)).collect())
    }
}
