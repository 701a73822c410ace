//! Fetch

use crate::wire::message::message;
use crate::wire::{ErrorCode, Records, StrBytes, Uuid};

message! {
    api Fetch = 1, versions 4..=18, flexible 12;

    request FetchRequest {
        cluster_id: Option<StrBytes> [12.., tag 0, ignorable],
        replica_id: i32 [..=14] = -1,
        replica_state: ReplicaState [15.., tag 1],
        max_wait_ms: i32,
        min_bytes: i32,
        max_bytes: i32 = i32::MAX,
        isolation_level: i8,
        session_id: i32 [7.., ignorable],
        session_epoch: i32 [7.., ignorable] = -1,
        topics: Vec<FetchTopic>,
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        rack_id: StrBytes [11.., ignorable],
    }
    struct ReplicaState {
        replica_id: i32 = -1,
        replica_epoch: i64 = -1,
    }
    struct FetchTopic {
        topic: StrBytes [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: Vec<FetchPartition>,
    }
    struct ForgottenTopic {
        topic: StrBytes [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: Vec<i32>,
    }
    struct FetchPartition {
        partition: i32,
        current_leader_epoch: i32 [9.., ignorable] = -1,
        fetch_offset: i64,
        last_fetched_epoch: i32 [12..] = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        partition_max_bytes: i32,
        replica_directory_id: Uuid [17.., tag 0, ignorable],
        high_watermark: i64 [18.., tag 1, ignorable] = i64::MAX,
    }

    response FetchResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode [7.., ignorable],
        session_id: i32 [7..],
        responses: Vec<TopicResponse>,
        node_endpoints: Vec<NodeEndpoint> [16.., tag 0],
    }
    struct TopicResponse {
        topic: StrBytes [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: Vec<PartitionData>,
    }
    struct NodeEndpoint {
        node_id: i32,
        host: StrBytes,
        port: i32,
        rack: Option<StrBytes>,
    }
    struct PartitionData {
        partition_index: i32,
        error_code: ErrorCode,
        high_watermark: i64,
        last_stable_offset: i64 = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        diverging_epoch: EpochEndOffset [12.., tag 0],
        current_leader: LeaderIdAndEpoch [12.., tag 1],
        snapshot_id: SnapshotId [12.., tag 2],
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()),
        preferred_read_replica: i32 [11..] = -1,
        records: Option<Records> = Some(Records::default()),
    }
    struct EpochEndOffset {
        epoch: i32 = -1,
        end_offset: i64 = -1,
    }
    struct LeaderIdAndEpoch {
        leader_id: i32 = -1,
        leader_epoch: i32 = -1,
    }
    struct SnapshotId {
        end_offset: i64 = -1,
        epoch: i32 = -1,
    }
    struct AbortedTransaction {
        producer_id: i64,
        first_offset: i64,
    }
}
