//! Growing and deleting topics.

use std::collections::BTreeSet;

use super::topics::{MAX_PARTITIONS, Refused, TOO_MANY, are_brokers, named_twice, place, refuse};
use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::{State, TopicRef};
use crate::embedded::topic::Partition;
use crate::wire::messages::create_partitions::TopicResult;
use crate::wire::messages::delete_topics::DeletedTopic;
use crate::wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::wire::{ErrorCode, StrBytes, Uuid};

impl Serve for CreatePartitionsRequest {
    fn serve(self, _: &Call, state: &mut State) -> Answer<CreatePartitionsResponse> {
        let mut seen = BTreeSet::new();
        let twice = named_twice(self.topics.iter().map(|t| &t.name));
        let results = self.topics.iter().filter(|asked| seen.insert(&asked.name)).map(|asked| {
            let by_hand = asked.assignments.as_ref().map(|all| all.iter().map(|a| a.broker_ids.clone()).collect());
            let grown = if twice.contains(&asked.name) {
                refuse(ErrorCode::INVALID_REQUEST, "Duplicate topic name.")
            } else {
                grow(state, &asked.name, asked.count, by_hand, self.validate_only)
            };
            let (error_code, error_message) = match grown {
                Ok(()) => (ErrorCode::NONE, None),
                Err(Refused { code: code @ ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. }) => (code, None),
                Err(Refused { code, text }) => (code, Some(text.into())),
            };
            TopicResult { name: asked.name.clone(), error_code, error_message }
        });
        Answer::Ready(CreatePartitionsResponse { results: results.collect(), ..Default::default() })
    }
}

/// More partitions: `count` altogether, the new ones' replicas placed by the caller or by the cluster.
pub(in crate::embedded) fn grow(
    state: &mut State,
    name: &str,
    count: i32,
    by_hand: Option<Vec<Vec<i32>>>,
    only_check: bool,
) -> Result<(), Refused> {
    let brokers: Vec<i32> = state.running().map(|(id, _)| id).collect();
    let (_, topic) = state.topic(TopicRef::Name(name))?;
    let (now, replication) = (topic.partitions.len(), topic.replicas);
    if count <= now as i32 {
        let text = format!("Topic currently has {now} partitions, which is not below the requested {count}.");
        return refuse(ErrorCode::INVALID_PARTITIONS, text);
    }
    let new = now..count as usize;
    if new.len() > MAX_PARTITIONS {
        return refuse(ErrorCode::POLICY_VIOLATION, TOO_MANY);
    }
    let placed = match by_hand {
        Some(placed) => {
            let fits = |ids: &Vec<i32>| ids.len() == replication as usize && are_brokers(state, ids);
            if placed.len() != new.len() || !placed.iter().all(fits) {
                let text = "The assignment does not fit the new partitions, the replicas or the brokers.";
                return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, text);
            }
            placed
        }
        None if replication as usize > brokers.len() => {
            return refuse(ErrorCode::INVALID_REPLICATION_FACTOR, "Too few brokers run.");
        }
        None => new.map(|p| place(&brokers, p, replication)).collect(),
    };
    if !only_check {
        state.topic_mut(TopicRef::Name(name))?.partitions.extend(placed.into_iter().map(Partition::new));
        state.elect();
        state.topics_changed();
    }
    Ok(())
}

impl Serve for DeleteTopicsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<DeleteTopicsResponse> {
        let asked: Vec<(Option<StrBytes>, Uuid)> = if call.version >= 6 {
            self.topics.into_iter().map(|t| (t.name, t.topic_id)).collect()
        } else {
            self.topic_names.into_iter().map(|name| (Some(name), Uuid::ZERO)).collect()
        };
        let named = named_twice(asked.iter());
        let mut seen = BTreeSet::new();
        let mut responses = Vec::new();
        for topic @ (name, id) in asked.iter().filter(|topic| seen.insert(*topic)) {
            let twice = named.contains(topic);
            let found = match name {
                _ if twice || name.is_some() != id.is_zero() => Err(ErrorCode::INVALID_REQUEST),
                Some(name) => state.topic(TopicRef::Name(name)),
                None => state.topic(TopicRef::Id(*id)),
            };
            responses.push(match found.map(|(name, topic)| (name.clone(), topic.id)) {
                Ok((name, topic_id)) => {
                    delete(state, &name);
                    DeletedTopic { name: Some(name.into()), topic_id, ..Default::default() }
                }
                Err(error_code) => DeletedTopic {
                    name: name.clone(),
                    topic_id: *id,
                    error_code,
                    error_message: Some(error_code.name().into()),
                },
            });
        }
        Answer::Ready(DeleteTopicsResponse { responses, ..Default::default() })
    }
}

/// The topic, its records and what groups have committed for it are gone. Says whether there was one.
pub(in crate::embedded) fn delete(state: &mut State, name: &str) -> bool {
    let Some(mut topic) = state.remove_topic(name) else { return false };
    topic.partitions.iter_mut().for_each(Partition::wake);
    state.groups.topic_deleted(name);
    state.topics_changed();
    state.offsets_changed();
    true
}
