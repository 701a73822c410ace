//! Metadata and DescribeCluster: brokers, topics, leaders.

use std::collections::BTreeSet;

use super::topics::new_topic;
use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::{State, TopicRef};
use crate::embedded::topic::{Topic, is_legal_name};
use crate::wire::messages::metadata::{self, RequestTopic};
use crate::wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse, describe_cluster,
};
use crate::wire::{ErrorCode, StrBytes, Uuid};

/// What may be done with a topic and with the cluster, as bits: without access control everybody may do all of it.
const TOPIC_OPERATIONS: i32 = 0xdf8;
const CLUSTER_OPERATIONS: i32 = 0x1fa0;

impl Serve for MetadataRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<MetadataResponse> {
        let all = match &self.topics {
            None => true,
            Some(topics) => call.version == 0 && topics.is_empty(),
        };
        let topics = if all {
            state.topics.iter().map(|(name, topic)| describe(state, name, topic)).collect()
        } else {
            let create = self.allow_auto_topic_creation && state.settings.auto_create_topics;
            let mut asked = self.topics.unwrap_or_default();
            let mut seen = BTreeSet::new();
            asked.retain(|topic| seen.insert((topic.name.clone(), topic.topic_id)));
            asked.into_iter().map(|topic| find(call, state, topic, create)).collect()
        };
        let mut topics: Vec<metadata::Topic> = topics;
        if self.include_topic_authorized_operations {
            topics.iter_mut().for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
        }
        let with_cluster = self.include_cluster_authorized_operations;
        Answer::Ready(MetadataResponse {
            cluster_authorized_operations: if with_cluster { CLUSTER_OPERATIONS } else { i32::MIN },
            brokers: state
                .running()
                .map(|(node_id, broker)| metadata::Broker {
                    node_id,
                    host: broker.host.as_str().into(),
                    port: broker.port.into(),
                    rack: None,
                })
                .collect(),
            cluster_id: Some(state.cluster_id.as_str().into()),
            controller_id: state.controller(),
            topics,
            ..Default::default()
        })
    }
}

fn find(call: &Call, state: &mut State, asked: RequestTopic, create: bool) -> metadata::Topic {
    if asked.name.is_none() {
        return match state.topic(TopicRef::Id(asked.topic_id)) {
            Ok((name, topic)) => describe(state, name, topic),
            Err(error_code) => {
                metadata::Topic { error_code, name: None, topic_id: asked.topic_id, ..Default::default() }
            }
        };
    }
    let name = asked.name.unwrap_or_default();
    let refused = |error_code| metadata::Topic { error_code, name: Some(name.clone()), ..Default::default() };
    if !is_legal_name(&name) {
        return refused(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    if create && !state.topics.contains_key(name.as_str()) {
        let partitions = state.settings.default_partitions;
        if let Err(error) = new_topic(&call.cluster.env, state, &name, partitions, -1, &[]) {
            return refused(error.code);
        }
    }
    match state.topic(TopicRef::Name(&name)) {
        Ok((name, topic)) => describe(state, name, topic),
        Err(code) => refused(code),
    }
}

fn describe(state: &State, name: &str, topic: &Topic) -> metadata::Topic {
    let partitions = topic.partitions.iter().enumerate().map(|(index, partition)| {
        let (isr_nodes, offline_replicas): (Vec<i32>, Vec<i32>) =
            partition.replicas.iter().partition(|id| state.is_running(**id));
        let leaderless = partition.leader < 0;
        metadata::Partition {
            error_code: if leaderless { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::NONE },
            partition_index: index as i32,
            leader_id: partition.leader,
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes,
            offline_replicas,
        }
    });
    metadata::Topic {
        name: Some(name.into()),
        topic_id: topic.id,
        partitions: partitions.collect(),
        is_internal: name.starts_with("__"),
        ..Default::default()
    }
}

impl Serve for DescribeClusterRequest {
    fn serve(self, _: &Call, state: &mut State) -> Answer<DescribeClusterResponse> {
        let error_code = match self.endpoint_type {
            1 => ErrorCode::NONE,
            2 => ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            _ => ErrorCode::UNSUPPORTED_ENDPOINT_TYPE,
        };
        if error_code != ErrorCode::NONE {
            return Answer::Ready(DescribeClusterResponse { error_code, ..Default::default() });
        }
        let brokers = state.running().map(|(broker_id, broker)| describe_cluster::Broker {
            broker_id,
            host: broker.host.as_str().into(),
            port: broker.port.into(),
            ..Default::default()
        });
        let with_operations = self.include_cluster_authorized_operations;
        Answer::Ready(DescribeClusterResponse {
            cluster_authorized_operations: if with_operations { CLUSTER_OPERATIONS } else { i32::MIN },
            cluster_id: state.cluster_id.as_str().into(),
            controller_id: state.controller(),
            brokers: brokers.collect(),
            ..Default::default()
        })
    }
}

/// Where the leader of a partition is now, for answers that refuse a client which asked another broker (KIP-951).
pub(super) fn leader_hint(state: &State, name: &str, id: Uuid, partition: i32) -> Option<(i32, i32, String, u16)> {
    let by = if name.is_empty() { TopicRef::Id(id) } else { TopicRef::Name(name) };
    let (_, topic) = state.topic(by).ok()?;
    let partition = topic.partitions.get(usize::try_from(partition).ok()?)?;
    let broker = state.brokers.get(&partition.leader)?;
    Some((partition.leader, partition.leader_epoch, broker.host.clone(), broker.port))
}

/// The topic as a request of a version that names topics by id, or by name, has it.
pub(super) fn named_or_id(by_id: bool, name: &str, id: Uuid) -> TopicRef<'_> {
    if by_id { TopicRef::Id(id) } else { TopicRef::Name(name) }
}

/// The topic as requests of either kind name it.
pub(super) fn topic_ref(name: &StrBytes, id: Uuid) -> TopicRef<'_> {
    if id.is_zero() { TopicRef::Name(name) } else { TopicRef::Id(id) }
}
