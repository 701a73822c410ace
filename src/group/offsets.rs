//! OffsetCommit and OffsetFetch on the wire. Topic ids are used where both sides know them, names elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calls::Calls;
use super::classic::Failure;
use super::commit::CommitRequest;
use super::handle::CommittedResult;
use super::types::Committed;
use crate::client::Use;
use crate::client::topology::Topology;
use crate::client::types::{Isolation, TopicId, TopicName, TopicPartition};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::messages::{offset_commit, offset_fetch};
use crate::wire::{ErrorCode, StrBytes};

/// The last versions of both APIs that name topics by name.
const BY_NAME: i16 = 9;
/// From this version on OffsetFetch asks for several groups.
const FETCH_GROUPS: i16 = 8;
/// From this version on OffsetFetch can wait for open transactions.
const FETCH_STABLE: i16 = 7;

impl Calls {
    /// Sends one OffsetCommit. Partitions that the answer leaves out are left out of the result.
    pub(super) async fn commit(
        &self,
        broker: i32,
        commit: CommitRequest,
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>, Failure> {
        let send = async {
            let connection = self.cluster.connection(broker, Use::Control).await?;
            let topics = Topics::new(&self.cluster.topology(), commit.offsets.keys());
            let version = connection.version::<offset_commit::OffsetCommitRequest>(topics.version_cap())?;
            let mut request = offset_commit::OffsetCommitRequest {
                group_id: self.config.group_id.clone().into(),
                generation_id_or_member_epoch: commit.generation.id,
                member_id: commit.generation.member_id.clone().into(),
                group_instance_id: self.instance_id(),
                ..Default::default()
            };
            for (tp, offset) in commit.offsets {
                if request.topics.last().is_none_or(|t| t.name != *tp.topic) {
                    let (name, topic_id) = topics.wire(&tp.topic);
                    request.topics.push(offset_commit::RequestTopic { name, topic_id, partitions: Vec::new() });
                }
                if let Some(topic) = request.topics.last_mut() {
                    topic.partitions.push(offset_commit::RequestPartition {
                        partition_index: tp.partition,
                        committed_offset: offset.offset,
                        committed_leader_epoch: offset.leader_epoch,
                        committed_metadata: Some(offset.metadata.into()),
                    });
                }
            }
            let response = connection.call(&request, version, self.short_limit()).await?;
            let mut codes = BTreeMap::new();
            for topic in response.topics {
                let Some(name) = topics.name(&topic.name, topic.topic_id) else { continue };
                let code = |p: offset_commit::ResponsePartition| {
                    (TopicPartition::new(name.clone(), p.partition_index), p.error_code)
                };
                codes.extend(topic.partitions.into_iter().map(code));
            }
            Ok(codes)
        };
        send.await.map_err(Failure::Call)
    }

    /// Looks up committed offsets, with retries up to the request time-out.
    pub(super) async fn committed(&self, partitions: Vec<TopicPartition>) -> CommittedResult {
        let what = format!("OffsetFetch of group {}", self.config.group_id);
        let found = self.cluster.retrying(&what, self.config.request_timeout, || self.try_committed(&partitions));
        let found = found.await?;
        Ok(of_each(partitions, found))
    }

    async fn try_committed(&self, of: &[TopicPartition]) -> Result<Found> {
        let group = &self.config.group_id;
        let broker = self.cluster.coordinator(group).await?;
        let asked = async {
            let connection = self.cluster.connection(broker, Use::Control).await?;
            let mut by_topic = BTreeMap::<_, Vec<i32>>::new();
            of.iter().for_each(|tp| by_topic.entry(tp.topic.clone()).or_default().push(tp.partition));
            let topics = Topics::new(&self.cluster.topology(), of.iter());
            let version = connection.version::<offset_fetch::OffsetFetchRequest>(topics.version_cap())?;
            let stable = self.config.isolation == Isolation::ReadCommitted && version >= FETCH_STABLE;
            let request = request(group, by_topic, &topics, version, stable);
            read(group, &topics, connection.call(&request, version, self.short_limit()).await?)
        };
        let result = asked.await;
        if result.as_ref().is_err_and(is_about_coordinator) {
            self.cluster.forget_coordinator(group, broker);
        }
        // A topic that was created anew has another id.
        let errors = result.iter().flat_map(BTreeMap::values).filter_map(|found| found.as_ref().err());
        errors.for_each(|error| self.cluster.refresh_after(error));
        result
    }
}

/// One that the answer left out is not one with nothing committed: brokers say that, and its messages may be skipped then.
fn of_each(partitions: Vec<TopicPartition>, mut found: Found) -> Vec<(TopicPartition, Result<Option<Committed>>)> {
    let left_out = |tp| {
        let text = format!("the broker left {tp} out of its answer to OffsetFetch: try again");
        (tp, Err(Error::new(ErrorKind::Protocol, text)))
    };
    partitions.into_iter().map(|tp| found.remove_entry(&tp).unwrap_or_else(|| left_out(tp))).collect()
}

fn request(
    group: &Arc<str>,
    by_topic: BTreeMap<TopicName, Vec<i32>>,
    topics: &Topics,
    version: i16,
    require_stable: bool,
) -> offset_fetch::OffsetFetchRequest {
    let group_id: StrBytes = group.clone().into();
    let mut request = offset_fetch::OffsetFetchRequest { require_stable, ..Default::default() };
    if version >= FETCH_GROUPS {
        let topic = |(topic, partition_indexes)| {
            let (name, topic_id) = topics.wire(&topic);
            offset_fetch::RequestGroupTopic { name, topic_id, partition_indexes }
        };
        let topics = Some(by_topic.into_iter().map(topic).collect());
        request.groups.push(offset_fetch::RequestGroup { group_id, topics, ..Default::default() });
    } else {
        let topic = |(name, partition_indexes): (TopicName, _)| offset_fetch::RequestTopic {
            name: name.into(),
            partition_indexes,
        };
        request.group_id = group_id;
        request.topics = Some(by_topic.into_iter().map(topic).collect());
    }
    request
}

/// What a group has committed, or why that is not to be had for a partition.
type Found = BTreeMap<TopicPartition, Result<Option<Committed>>>;

/// Both forms of the answer; an error that is not of one partition fails it.
fn read(group: &str, topics: &Topics, response: offset_fetch::OffsetFetchResponse) -> Result<Found> {
    let refused = |code: ErrorCode, what: String| Error::from_code(code, format_args!("OffsetFetch of {what}"));
    let mut found = BTreeMap::new();
    let mut take = |name: &TopicName, partition, code: ErrorCode, offset, leader_epoch, metadata: Option<StrBytes>| {
        let tp = TopicPartition::new(name.clone(), partition);
        let metadata = metadata.unwrap_or_default().to_string();
        // −1: nothing is committed.
        let committed = (offset >= 0).then_some(Committed { offset, leader_epoch, metadata });
        let outcome = code.ok().map_err(|code| refused(code, format!("group {group} for {tp}")));
        match outcome {
            Err(error) if is_about_coordinator(&error) => return Err(error),
            outcome => found.insert(tp, outcome.map(|()| committed)),
        };
        Ok::<_, Error>(())
    };
    response.error_code.ok().map_err(|code| refused(code, format!("group {group}")))?;
    for topic in response.topics {
        let Some(name) = topics.name(&topic.name, TopicId::ZERO) else { continue };
        for p in topic.partitions {
            take(name, p.partition_index, p.error_code, p.committed_offset, p.committed_leader_epoch, p.metadata)?;
        }
    }
    for answered in response.groups.into_iter().filter(|g| g.group_id == *group) {
        answered.error_code.ok().map_err(|code| refused(code, format!("group {group}")))?;
        for topic in answered.topics {
            let Some(name) = topics.name(&topic.name, topic.topic_id) else { continue };
            for p in topic.partitions {
                take(name, p.partition_index, p.error_code, p.committed_offset, p.committed_leader_epoch, p.metadata)?;
            }
        }
    }
    Ok(found)
}

fn is_about_coordinator(error: &Error) -> bool {
    match error.code() {
        None => error.is_retriable(),
        Some(code) => {
            matches!(
                code,
                ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::REQUEST_TIMED_OUT
            )
        }
    }
}

/// Names and ids of the topics in one request.
struct Topics {
    ids: BTreeMap<TopicName, TopicId>,
}

impl Topics {
    fn new<'a>(topology: &Topology, of: impl Iterator<Item = &'a TopicPartition>) -> Self {
        let id = |name: &TopicName| topology.topic(name).map_or(TopicId::ZERO, |t| t.id);
        Self { ids: of.map(|tp| (tp.topic.clone(), id(&tp.topic))).collect() }
    }

    /// Later versions name topics by id only, so all ids must be known.
    fn version_cap(&self) -> Option<i16> {
        self.ids.values().any(|id| id.is_zero()).then_some(BY_NAME)
    }

    fn wire(&self, name: &TopicName) -> (StrBytes, TopicId) {
        (name.clone().into(), self.ids.get(name).copied().unwrap_or_default())
    }

    fn name(&self, name: &str, id: TopicId) -> Option<&TopicName> {
        if id.is_zero() {
            return self.ids.get_key_value(name).map(|(name, _)| name);
        }
        self.ids.iter().find(|(_, known)| **known == id).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_the_answer_leaves_out_is_not_taken_for_one_with_nothing_committed() {
        let tp = |n| TopicPartition::new("orders", n);
        let partition = offset_fetch::ResponsePartition { committed_offset: -1, ..Default::default() };
        let topic = offset_fetch::ResponseTopic { name: "orders".into(), partitions: vec![partition] };
        let response = offset_fetch::OffsetFetchResponse { topics: vec![topic], ..Default::default() };
        let topics = Topics { ids: BTreeMap::from([("orders".into(), TopicId::ZERO)]) };
        let found = of_each(vec![tp(0), tp(1)], read("kitchen", &topics, response).unwrap());
        let [(_, Ok(None)), (of, Err(error))] = &found[..] else { panic!("{found:?}") };
        assert_eq!(*of, tp(1));
        assert!(!error.is_fatal() && error.to_string().contains("left orders-1 out"), "{error}");
    }
}
