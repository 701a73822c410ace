//! OffsetCommit and OffsetFetch as scenarios send them, and their answers in words.

use super::client::World;
use super::help::Topic;
use crate::wire::StrBytes;
use crate::wire::messages::*;

/// OffsetFetch of a group's partitions (`None`: all).
pub(super) fn fetch_request(
    group: &StrBytes,
    of: Option<(&Topic, &[i32])>,
    version: i16,
    require_stable: bool,
) -> OffsetFetchRequest {
    let partitions = |indexes: &[i32]| indexes.to_vec();
    if version >= 8 {
        let topic = |(topic, indexes): (&Topic, &[i32])| offset_fetch::RequestGroupTopic {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_indexes: partitions(indexes),
        };
        let group = offset_fetch::RequestGroup {
            group_id: group.clone(),
            topics: of.map(|of| vec![topic(of)]),
            ..Default::default()
        };
        return OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
    }
    let topic = |(topic, indexes): (&Topic, &[i32])| offset_fetch::RequestTopic {
        name: topic.name.clone(),
        partition_indexes: partitions(indexes),
    };
    OffsetFetchRequest {
        group_id: group.clone(),
        topics: of.map(|of| vec![topic(of)]),
        require_stable: require_stable && version >= 7,
        ..Default::default()
    }
}

/// An OffsetFetch answer in words.
pub(super) fn fetched(answer: &OffsetFetchResponse) -> String {
    let mut out = vec![answer.error_code.to_string()];
    for topic in &answer.topics {
        for p in &topic.partitions {
            let metadata = p.metadata.as_deref();
            let at = (p.partition_index, p.committed_offset, p.committed_leader_epoch, metadata);
            out.push(format!("{} {at:?} {}", topic.name, p.error_code));
        }
    }
    for group in &answer.groups {
        out.push(format!("group {}", group.error_code));
        for topic in &group.topics {
            let name = if topic.name.is_empty() { "by id" } else { &topic.name };
            for p in &topic.partitions {
                let metadata = p.metadata.as_deref();
                let at = (p.partition_index, p.committed_offset, p.committed_leader_epoch, metadata);
                out.push(format!("{name} {at:?} {}", p.error_code));
            }
        }
    }
    out[1..].sort();
    out.join("; ")
}

/// Who commits what.
#[derive(Clone)]
pub(super) struct Commit<'a> {
    pub(super) generation: i32,
    pub(super) member: &'a str,
    pub(super) instance: Option<&'a str>,
    pub(super) topic: &'a Topic,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) metadata: Option<&'a str>,
}

impl Commit<'_> {
    pub(super) async fn send(&self, world: &World, node: i32, group: &StrBytes, version: i16) -> String {
        let partition = offset_commit::RequestPartition {
            partition_index: self.partition,
            committed_offset: self.offset,
            committed_leader_epoch: if version >= 6 { 4 } else { -1 },
            committed_metadata: self.metadata.map(Into::into),
        };
        let topic = offset_commit::RequestTopic {
            name: self.topic.name.clone(),
            topic_id: self.topic.id,
            partitions: vec![partition],
        };
        let request = OffsetCommitRequest {
            group_id: group.clone(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member.into(),
            group_instance_id: self.instance.filter(|_| version >= 7).map(Into::into),
            topics: vec![topic],
            ..Default::default()
        };
        match world.try_ask(node, &request, version).await {
            Ok(answer) => answer.topics[0].partitions[0].error_code.to_string(),
            Err(what) => what.into(),
        }
    }
}

/// From outside of any group.
pub(super) fn outside(topic: &Topic) -> Commit<'_> {
    Commit { generation: -1, member: "", instance: None, topic, partition: 0, offset: 5, metadata: Some("m") }
}
