//! Administration: topics, configurations, groups, and the offsets of both. Called by the rooms above through
//! [`ClusterAdmin`]; results are per item, because brokers answer per item.

mod groups;
mod offsets;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::client::Cluster;
use crate::client::types::{Isolation, OffsetAt, Position, TopicId, TopicName, TopicPartition};
use crate::error::Result;

/// What each of several items came to, in the order asked.
pub(crate) type Each<K, T> = Vec<(K, Result<T>)>;

/// Every call retries what can be retried for at most the cluster's request timeout. All are cancel-safe in that
/// nothing breaks, but what was sent may still take effect.
#[async_trait]
pub(crate) trait ClusterAdmin: Send + Sync + 'static {
    /// Creates topics. One that exists already is an error of code TOPIC_ALREADY_EXISTS.
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<Each<TopicName, ()>>;
    /// Deletes topics. One that does not exist is an error of kind `UnknownTopic`.
    async fn delete_topics(&self, names: &[TopicName]) -> Result<Each<TopicName, ()>>;
    /// The topics of these names, or all, straight from a broker; names it does not know are left out.
    async fn list_topics(&self, names: Option<&[TopicName]>) -> Result<Vec<TopicListing>>;
    #[allow(dead_code, reason = "no command shows settings yet")]
    /// The settings of a topic or broker; `keys` of `None` means all.
    async fn describe_configs(&self, of: &ConfigsOf, keys: Option<&[&str]>)
    -> Result<BTreeMap<String, Option<String>>>;

    /// The groups of all brokers.
    async fn list_groups(&self) -> Result<Vec<GroupListing>>;
    /// State and members of groups. One that does not exist has the state `Dead` and no members.
    async fn describe_groups(&self, groups: &[String]) -> Result<Each<String, GroupDescription>>;
    /// Deletes groups without members.
    async fn delete_groups(&self, groups: &[String]) -> Result<Each<String, ()>>;

    /// Looks offsets up at each partition's leader. `None`: no record is that young.
    async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
    ) -> Result<Each<TopicPartition, Option<Position>>>;
    /// The same without a second try: what cannot be found out now, or within `patience`, has failed and holds up no other.
    async fn list_offsets_once(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
        patience: Duration,
    ) -> Result<Each<TopicPartition, Option<Position>>>;
    /// Where each partition's log has its end of a leader epoch (KIP-320).
    async fn epoch_ends(&self, asked: &[(TopicPartition, i32)]) -> Result<Each<TopicPartition, EpochEnd>>;
    /// The same without a second try.
    async fn epoch_ends_once(
        &self,
        asked: &[(TopicPartition, i32)],
        patience: Duration,
    ) -> Result<Each<TopicPartition, EpochEnd>>;
    /// What a group has committed: for these partitions, or for all it has. `None`: nothing. With `stable`, offsets
    /// that open transactions are about to commit are waited for.
    async fn committed_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        stable: bool,
    ) -> Result<Each<TopicPartition, Option<CommittedOffset>>>;
    /// Commits from outside the group, which must have no members.
    async fn commit_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Each<TopicPartition, ()>>;
}

/// A topic to create.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// `None`: the brokers' default (from 2.4 on).
    pub(crate) partitions: Option<i32>,
    /// `None`: the brokers' default (from 2.4 on).
    pub(crate) replicas: Option<i16>,
    pub(crate) configs: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicListing {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    pub(crate) partitions: usize,
    /// Of its first partition.
    pub(crate) replicas: usize,
    /// Kafka's own, such as `__consumer_offsets`.
    pub(crate) internal: bool,
}

#[allow(dead_code, reason = "see describe_configs")]
#[derive(Clone, Debug)]
pub(crate) enum ConfigsOf {
    Topic(TopicName),
    Broker(i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupListing {
    pub(crate) group: String,
    pub(crate) protocol_type: String,
    /// Empty if the broker is too old to tell (below 2.6).
    pub(crate) state: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupDescription {
    pub(crate) state: String,
    pub(crate) protocol_type: String,
    /// The assignor in force.
    pub(crate) protocol: String,
    pub(crate) members: Vec<GroupMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) metadata: Bytes,
    /// Empty if it is not of a consumer group, or cannot be read.
    pub(crate) assignment: Vec<TopicPartition>,
}

/// The end of a leader epoch in a log: the largest epoch at or below the asked one, and the offset after its last
/// record. Both −1 if the log has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    pub(crate) leader_epoch: i32,
    pub(crate) end_offset: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    /// −1: unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// Over this client's own connections.
#[derive(Clone, Debug)]
pub(crate) struct NativeAdmin {
    cluster: Cluster,
    limit: Duration,
}

impl NativeAdmin {
    pub(crate) fn new(cluster: Cluster) -> Self {
        let limit = cluster.config().request_timeout;
        Self { cluster, limit }
    }
}

#[async_trait]
impl ClusterAdmin for NativeAdmin {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<Each<TopicName, ()>> {
        self.create(topics).await
    }

    async fn delete_topics(&self, names: &[TopicName]) -> Result<Each<TopicName, ()>> {
        self.delete(names).await
    }

    async fn list_topics(&self, names: Option<&[TopicName]>) -> Result<Vec<TopicListing>> {
        self.topics(names).await
    }

    async fn describe_configs(
        &self,
        of: &ConfigsOf,
        keys: Option<&[&str]>,
    ) -> Result<BTreeMap<String, Option<String>>> {
        self.configs(of, keys).await
    }

    async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        self.groups().await
    }

    async fn describe_groups(&self, groups: &[String]) -> Result<Each<String, GroupDescription>> {
        self.describe(groups).await
    }

    async fn delete_groups(&self, groups: &[String]) -> Result<Each<String, ()>> {
        self.remove_groups(groups).await
    }

    async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
    ) -> Result<Each<TopicPartition, Option<Position>>> {
        self.offsets(partitions, at, isolation, None).await
    }

    async fn list_offsets_once(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
        patience: Duration,
    ) -> Result<Each<TopicPartition, Option<Position>>> {
        self.offsets(partitions, at, isolation, Some(patience)).await
    }

    async fn epoch_ends(&self, asked: &[(TopicPartition, i32)]) -> Result<Each<TopicPartition, EpochEnd>> {
        self.ends_of_epochs(asked, None).await
    }

    async fn epoch_ends_once(
        &self,
        asked: &[(TopicPartition, i32)],
        patience: Duration,
    ) -> Result<Each<TopicPartition, EpochEnd>> {
        self.ends_of_epochs(asked, Some(patience)).await
    }

    async fn committed_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        stable: bool,
    ) -> Result<Each<TopicPartition, Option<CommittedOffset>>> {
        self.committed(group, partitions, stable).await
    }

    async fn commit_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Each<TopicPartition, ()>> {
        self.commit(group, offsets).await
    }
}
