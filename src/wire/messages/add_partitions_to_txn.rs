//! AddPartitionsToTxn (24): partitions a transaction is going to write to. Clients use versions up to 3; from v4 on it
//! is spoken between brokers, with several transactions in one request (KIP-890).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api AddPartitionsToTxn = 24, versions 0..=5, flexible 3;

    request AddPartitionsToTxnRequest {
        transactions: Vec<Transaction> [4..],
        v3_and_below_transactional_id: StrBytes [..=3],
        v3_and_below_producer_id: i64 [..=3],
        v3_and_below_producer_epoch: i16 [..=3],
        v3_and_below_topics: Vec<Topic> [..=3],
    }
    struct Transaction {
        transactional_id: StrBytes,
        producer_id: i64,
        producer_epoch: i16,
        /// Only ask whether the partitions are in the transaction.
        verify_only: bool,
        topics: Vec<Topic>,
    }
    struct Topic {
        name: StrBytes,
        partitions: Vec<i32>,
    }

    response AddPartitionsToTxnResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode [4.., ignorable],
        results_by_transaction: Vec<TransactionResult> [4..],
        results_by_topic_v3_and_below: Vec<TopicResult> [..=3],
    }
    struct TransactionResult {
        transactional_id: StrBytes,
        topic_results: Vec<TopicResult>,
    }
    struct TopicResult {
        name: StrBytes,
        results_by_partition: Vec<PartitionResult>,
    }
    struct PartitionResult {
        partition_index: i32,
        partition_error_code: ErrorCode,
    }
}
