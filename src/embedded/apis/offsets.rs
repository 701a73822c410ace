//! What groups have committed: OffsetCommit, TxnOffsetCommit, OffsetFetch, OffsetDelete.

use super::metadata::topic_ref;
use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::groups::{Committer, Stored};
use crate::embedded::refuse::Refuse;
use crate::embedded::state::{State, TopicRef};
use crate::wire::messages::offset_fetch::{
    RequestGroup, ResponseGroup, ResponseGroupPartition, ResponseGroupTopic, ResponsePartition, ResponseTopic,
};
use crate::wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse, offset_commit, offset_delete,
    txn_offset_commit,
};
use crate::wire::{ErrorCode, StrBytes, Uuid};

fn stored(state: &State, offset: i64, leader_epoch: i32, metadata: Option<StrBytes>) -> Result<Stored, ErrorCode> {
    state.groups.check_metadata(metadata.as_deref())?;
    Ok(Stored { offset, leader_epoch, metadata: metadata.unwrap_or_default().to_string() })
}

/// The name of a topic that has this partition.
fn existing(state: &State, name: &StrBytes, id: Uuid, partition: i32) -> Result<String, ErrorCode> {
    let (name, topic) = state.topic(topic_ref(name, id))?;
    match usize::try_from(partition) {
        Ok(p) if p < topic.partitions.len() => Ok(name.clone()),
        _ => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

impl Serve for OffsetCommitRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<OffsetCommitResponse> {
        let allowed = state.coordinates(call.broker, &self.group_id).and_then(|()| {
            let by = Committer {
                group: &self.group_id,
                generation: self.generation_id_or_member_epoch,
                member_id: &self.member_id,
                instance_id: self.group_instance_id.as_deref(),
            };
            state.groups.may_commit(call.now, call.version, by)
        });
        call.cluster.timing_changed();
        if let Err(code) = allowed {
            return Answer::Ready(self.refuse(call.version, code));
        }
        let mut topics = Vec::new();
        for topic in self.topics {
            let mut partitions = Vec::new();
            for p in topic.partitions {
                let outcome = existing(state, &topic.name, topic.topic_id, p.partition_index).and_then(|name| {
                    let stored = stored(state, p.committed_offset, p.committed_leader_epoch, p.committed_metadata)?;
                    state.groups.commit(&self.group_id, &name, p.partition_index, stored);
                    Ok(())
                });
                let error_code = outcome.err().unwrap_or_default();
                partitions.push(offset_commit::ResponsePartition { partition_index: p.partition_index, error_code });
            }
            topics.push(offset_commit::ResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions });
        }
        state.offsets_changed();
        Answer::Ready(OffsetCommitResponse { topics, ..Default::default() })
    }
}

impl Serve for TxnOffsetCommitRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<TxnOffsetCommitResponse> {
        let allowed = state.coordinates(call.broker, &self.group_id).and_then(|()| {
            let by = Committer {
                group: &self.group_id,
                generation: self.generation_id,
                member_id: &self.member_id,
                instance_id: self.group_instance_id.as_deref(),
            };
            state.groups.may_commit_in_transaction(call.now, by)?;
            let producer = (self.producer_id, self.producer_epoch);
            let checked = state.transactions.check_offsets(&self.transactional_id, producer, &self.group_id);
            // The group's coordinator asks that of the transaction, which answers in its older words.
            checked.map_err(|code| match code {
                ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
                code => code,
            })
        });
        let mut topics = Vec::new();
        for topic in self.topics {
            let mut partitions = Vec::new();
            for p in topic.partitions {
                let outcome = existing(state, &topic.name, Uuid::ZERO, p.partition_index).and_then(|name| {
                    allowed?;
                    let stored = stored(state, p.committed_offset, p.committed_leader_epoch, p.committed_metadata)?;
                    state.groups.commit_pending(&self.group_id, self.producer_id, &name, p.partition_index, stored);
                    Ok(())
                });
                let error_code = outcome.err().unwrap_or_default();
                let partition_index = p.partition_index;
                partitions.push(txn_offset_commit::ResponsePartition { partition_index, error_code });
            }
            topics.push(txn_offset_commit::ResponseTopic { name: topic.name, partitions });
        }
        Answer::Ready(TxnOffsetCommitResponse { topics, ..Default::default() })
    }
}

impl Serve for OffsetFetchRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<OffsetFetchResponse> {
        if call.version >= 8 {
            let groups = self.groups.into_iter().map(|group| fetch(call, state, group, self.require_stable));
            return Answer::Ready(OffsetFetchResponse { groups: groups.collect(), ..Default::default() });
        }
        if call.version < 2
            && let Err(code) = state.coordinates(call.broker, &self.group_id)
        {
            return Answer::Ready(self.refuse(call.version, code));
        }
        let topics = self.topics.map(|topics| {
            let topic = |t: crate::wire::messages::offset_fetch::RequestTopic| {
                crate::wire::messages::offset_fetch::RequestGroupTopic {
                    name: t.name,
                    partition_indexes: t.partition_indexes,
                    ..Default::default()
                }
            };
            topics.into_iter().map(topic).collect()
        });
        let group = RequestGroup { group_id: self.group_id, topics, ..Default::default() };
        let ResponseGroup { topics, error_code, .. } = fetch(call, state, group, self.require_stable);
        let topics = topics.into_iter().map(|topic| ResponseTopic {
            name: topic.name,
            partitions: topic.partitions.into_iter().map(in_old_form).collect(),
        });
        Answer::Ready(OffsetFetchResponse { topics: topics.collect(), error_code, ..Default::default() })
    }
}

fn in_old_form(p: ResponseGroupPartition) -> ResponsePartition {
    let ResponseGroupPartition { partition_index, committed_offset, committed_leader_epoch, metadata, error_code } = p;
    ResponsePartition { partition_index, committed_offset, committed_leader_epoch, metadata, error_code }
}

fn fetch(call: &Call, state: &State, group: RequestGroup, stable: bool) -> ResponseGroup {
    let id = &group.group_id;
    let mut answer = ResponseGroup { group_id: id.clone(), ..Default::default() };
    if let Err(code) = state.coordinates(call.broker, id) {
        answer.error_code = code;
        return answer;
    }
    let one = |name: &str, partition_index: i32| {
        let unstable = stable && state.groups.has_pending(id, name, partition_index);
        let found = state.groups.committed(id, name, partition_index).filter(|_| !unstable);
        ResponseGroupPartition {
            partition_index,
            committed_offset: found.map_or(-1, |s| s.offset),
            committed_leader_epoch: found.map_or(-1, |s| s.leader_epoch),
            metadata: Some(found.map_or("", |s| s.metadata.as_str()).into()),
            error_code: if unstable { ErrorCode::UNSTABLE_OFFSET_COMMIT } else { ErrorCode::NONE },
        }
    };
    let Some(topics) = group.topics else {
        for (name, partition, _) in state.groups.all_committed(id) {
            let topic_id = state.topics.get(name).map_or(Uuid::ZERO, |t| t.id);
            match answer.topics.last_mut().filter(|t| t.name == *name) {
                Some(topic) => topic.partitions.push(one(name, partition)),
                None => answer.topics.push(ResponseGroupTopic {
                    name: name.into(),
                    topic_id,
                    partitions: vec![one(name, partition)],
                }),
            }
        }
        return answer;
    };
    for topic in topics {
        let name = if topic.topic_id.is_zero() {
            Ok(topic.name.to_string())
        } else {
            state.topic(TopicRef::Id(topic.topic_id)).map(|(name, _)| name.clone())
        };
        let partitions = topic.partition_indexes.iter().map(|&partition_index| match &name {
            Ok(name) => one(name, partition_index),
            Err(error_code) => ResponseGroupPartition {
                partition_index,
                committed_offset: -1,
                error_code: *error_code,
                ..Default::default()
            },
        });
        answer.topics.push(ResponseGroupTopic {
            partitions: partitions.collect(),
            name: topic.name.clone(),
            topic_id: topic.topic_id,
        });
    }
    answer
}

impl Serve for OffsetDeleteRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<OffsetDeleteResponse> {
        let allowed = state.coordinates(call.broker, &self.group_id);
        if let Err(code) = allowed.and_then(|()| state.groups.may_delete_offsets(&self.group_id)) {
            return Answer::Ready(self.refuse(call.version, code));
        }
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                let known = state.partition(&topic.name, p.partition_index).is_some();
                let deleted = if known {
                    state.groups.delete_offset(&self.group_id, &topic.name, p.partition_index)
                } else {
                    Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                };
                let error_code = deleted.err().unwrap_or_default();
                offset_delete::ResponsePartition { partition_index: p.partition_index, error_code }
            });
            offset_delete::ResponseTopic { partitions: partitions.collect(), name: topic.name.clone() }
        });
        let topics = topics.collect();
        state.offsets_changed();
        Answer::Ready(OffsetDeleteResponse { topics, ..Default::default() })
    }
}
