//! Refusals of the coordinator: groups, their members and their offsets.

use super::{Refuse, refuse};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes};

refuse!(FindCoordinatorRequest, |request, version, error_code| {
    let coordinator = |key: &StrBytes| find_coordinator::Coordinator {
        key: key.clone(),
        node_id: -1,
        port: -1,
        error_code,
        error_message: None,
        ..Default::default()
    };
    if version >= 4 {
        let coordinators = request.coordinator_keys.iter().map(coordinator).collect();
        FindCoordinatorResponse { coordinators, ..Default::default() }
    } else {
        FindCoordinatorResponse { error_code, error_message: None, node_id: -1, port: -1, ..Default::default() }
    }
});

refuse!(JoinGroupRequest, |request, version, error_code| JoinGroupResponse {
    error_code,
    protocol_name: (version < 7).then(StrBytes::default),
    member_id: request.member_id.clone(),
    ..Default::default()
});

refuse!(DescribeGroupsRequest, |request, _, error_code| {
    use describe_groups::DescribedGroup;
    let group = |group: &StrBytes| DescribedGroup { error_code, group_id: group.clone(), ..Default::default() };
    DescribeGroupsResponse { groups: request.groups.iter().map(group).collect(), ..Default::default() }
});

refuse!(DeleteGroupsRequest, |request, _, error_code| {
    use delete_groups::DeletedGroup;
    let group = |group: &StrBytes| DeletedGroup { group_id: group.clone(), error_code };
    DeleteGroupsResponse { results: request.groups_names.iter().map(group).collect(), ..Default::default() }
});

refuse!(OffsetCommitRequest, |request, _, error_code| {
    use offset_commit::{RequestTopic, ResponsePartition, ResponseTopic};
    let partition = |partition_index| ResponsePartition { partition_index, error_code };
    let topic = |topic: &RequestTopic| ResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|p| partition(p.partition_index)).collect(),
    };
    OffsetCommitResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
});

/// Whether OffsetFetch says it of single partitions although it has a place for the whole group.
fn concerns_partitions(code: ErrorCode) -> bool {
    [
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::UNSTABLE_OFFSET_COMMIT,
    ]
    .contains(&code)
}

refuse!(OffsetFetchRequest, |request, version, error_code| match version {
    8.. => {
        let groups = request.groups.iter().map(|group| group_offsets(group, error_code)).collect();
        OffsetFetchResponse { groups, ..Default::default() }
    }
    2.. if !concerns_partitions(error_code) || !names_partitions(request) => {
        OffsetFetchResponse { error_code, ..Default::default() }
    }
    _ => {
        use offset_fetch::{RequestTopic, ResponsePartition, ResponseTopic};
        let partition = |&partition_index: &i32| ResponsePartition {
            partition_index,
            committed_offset: -1,
            error_code,
            ..Default::default()
        };
        let topic = |topic: &RequestTopic| ResponseTopic {
            name: topic.name.clone(),
            partitions: topic.partition_indexes.iter().map(partition).collect(),
        };
        OffsetFetchResponse { topics: request.topics.iter().flatten().map(topic).collect(), ..Default::default() }
    }
});

fn names_partitions(request: &OffsetFetchRequest) -> bool {
    request.topics.iter().flatten().any(|topic| !topic.partition_indexes.is_empty())
}

fn group_offsets(group: &offset_fetch::RequestGroup, error_code: ErrorCode) -> offset_fetch::ResponseGroup {
    use offset_fetch::{RequestGroupTopic, ResponseGroup, ResponseGroupPartition, ResponseGroupTopic};
    let partition = |&partition_index: &i32| ResponseGroupPartition {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        error_code,
        ..Default::default()
    };
    let topic = |topic: &RequestGroupTopic| ResponseGroupTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    };
    let group_id = group.group_id.clone();
    let named = group.topics.iter().flatten().any(|topic| !topic.partition_indexes.is_empty());
    if named && concerns_partitions(error_code) {
        let topics = group.topics.iter().flatten().map(topic).collect();
        ResponseGroup { group_id, topics, ..Default::default() }
    } else {
        ResponseGroup { group_id, error_code, ..Default::default() }
    }
}
