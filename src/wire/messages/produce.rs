//! Produce

use crate::wire::message::message;
use crate::wire::{ErrorCode, Records, StrBytes, Uuid};

message! {
    api Produce = 0, versions 3..=13, flexible 9;

    request ProduceRequest {
        transactional_id: Option<StrBytes>,
        acks: i16,
        timeout_ms: i32,
        topic_data: Vec<TopicData>,
    }
    struct TopicData {
        name: StrBytes [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partition_data: Vec<PartitionData>,
    }
    struct PartitionData {
        index: i32,
        records: Option<Records> = Some(Records::default()),
    }

    response ProduceResponse {
        responses: Vec<TopicResponse>,
        throttle_time_ms: i32,
        node_endpoints: Vec<NodeEndpoint> [10.., tag 0],
    }
    struct TopicResponse {
        name: StrBytes [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partition_responses: Vec<PartitionResponse>,
    }
    struct NodeEndpoint {
        node_id: i32,
        host: StrBytes,
        port: i32,
        rack: Option<StrBytes>,
    }
    struct PartitionResponse {
        index: i32,
        error_code: ErrorCode,
        base_offset: i64,
        log_append_time_ms: i64 = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        record_errors: Vec<RecordError> [8.., ignorable],
        error_message: Option<StrBytes> [8.., ignorable],
        current_leader: LeaderIdAndEpoch [10.., tag 0],
    }
    struct RecordError {
        batch_index: i32,
        batch_index_error_message: Option<StrBytes>,
    }
    struct LeaderIdAndEpoch {
        leader_id: i32 = -1,
        leader_epoch: i32 = -1,
    }
}
