//! DescribeProducers (61): who has written to a partition, and which transactions are open there (KIP-664).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api DescribeProducers = 61, versions 0..=0, flexible 0;

    request DescribeProducersRequest {
        topics: Vec<RequestTopic>,
    }
    struct RequestTopic {
        name: StrBytes,
        partition_indexes: Vec<i32>,
    }

    response DescribeProducersResponse {
        throttle_time_ms: i32,
        topics: Vec<ResponseTopic>,
    }
    struct ResponseTopic {
        name: StrBytes,
        partitions: Vec<ResponsePartition>,
    }
    struct ResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
        error_message: Option<StrBytes>,
        active_producers: Vec<ProducerState>,
    }
    struct ProducerState {
        producer_id: i64,
        producer_epoch: i32,
        last_sequence: i32 = -1,
        last_timestamp: i64 = -1,
        coordinator_epoch: i32,
        /// −1: no transaction is open.
        current_txn_start_offset: i64 = -1,
    }
}
