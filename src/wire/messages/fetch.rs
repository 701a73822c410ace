//! Fetch (1): record batches from given offsets. KIP-227 (sessions), KIP-320 (epochs), KIP-392 (rack), KIP-516 (v13:
//! topics by id), KIP-951 (new leader in the error).

use crate::wire::message::message;
use crate::wire::{ErrorCode, Records, StrBytes, Uuid};

message! {
    api Fetch = 1, versions 4..=18, flexible 12;

    request FetchRequest {
        cluster_id: Option<StrBytes> [12.., tag 0, ignorable],
        /// −1: a consumer. From v15 in `replica_state`.
        replica_id: i32 [..=14] = -1,
        replica_state: ReplicaState [15.., tag 1],
        max_wait_ms: i32,
        min_bytes: i32,
        max_bytes: i32 = i32::MAX,
        /// 0: read_uncommitted, 1: read_committed.
        isolation_level: i8,
        /// 0: no session, or a new one (epoch 0).
        session_id: i32 [7.., ignorable],
        /// −1: a full fetch without a session.
        session_epoch: i32 [7.., ignorable] = -1,
        topics: Vec<FetchTopic>,
        /// Partitions the session shall no longer answer.
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
        /// The leader's epoch as the client knows it, or −1.
        current_leader_epoch: i32 [9.., ignorable] = -1,
        fetch_offset: i64,
        /// For followers and truncation detection by brokers; −1 for consumers.
        last_fetched_epoch: i32 [12..] = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        partition_max_bytes: i32,
        replica_directory_id: Uuid [17.., tag 0, ignorable],
        high_watermark: i64 [18.., tag 1, ignorable] = i64::MAX,
    }

    response FetchResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode [7.., ignorable],
        /// 0: the broker keeps no session for this client.
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
        /// Set if the log at the asked offset is not what the fetcher read before.
        diverging_epoch: EpochEndOffset [12.., tag 0],
        current_leader: LeaderIdAndEpoch [12.., tag 1],
        snapshot_id: SnapshotId [12.., tag 2],
        /// Only under read_committed.
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()),
        /// −1: stay with the leader.
        preferred_read_replica: i32 [11..] = -1,
        /// The first batch may begin before the asked offset; the last may be cut.
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
