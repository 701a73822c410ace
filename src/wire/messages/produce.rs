//! Produce (0): record batches to be appended. KIP-98 (idempotence), KIP-467 (which record was bad), KIP-951 (new
//! leader in the error), KIP-516 (v13: topics by id). Brokers advertise v0 to v2 for librdkafka's sake and refuse them.

use crate::wire::message::message;
use crate::wire::{ErrorCode, Records, StrBytes, Uuid};

message! {
    api Produce = 0, versions 3..=13, flexible 9;

    request ProduceRequest {
        transactional_id: Option<StrBytes>,
        /// −1: all in-sync replicas, 1: the leader, 0: no response at all.
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
        /// Batches in format v2; with an idempotent producer exactly one.
        records: Option<Records> = Some(Records::default()),
    }

    response ProduceResponse {
        responses: Vec<TopicResponse>,
        throttle_time_ms: i32,
        /// Where the leaders of `current_leader` are.
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
        /// Of the first record; −1 when the broker recognised a duplicate whose offset it no longer knows.
        base_offset: i64,
        /// −1 unless the topic stamps records with the time of appending.
        log_append_time_ms: i64 = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        record_errors: Vec<RecordError> [8.., ignorable],
        error_message: Option<StrBytes> [8.., ignorable],
        /// Set with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH.
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
