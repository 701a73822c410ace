//! ListPartitionReassignments (46): partitions whose replicas are being moved (KIP-455).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api ListPartitionReassignments = 46, versions 0..=0, flexible 0;

    request ListPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000,
        /// `None`: all.
        topics: Option<Vec<RequestTopic>>,
    }
    struct RequestTopic {
        name: StrBytes,
        partition_indexes: Vec<i32>,
    }

    response ListPartitionReassignmentsResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<StrBytes> = Some(StrBytes::default()),
        topics: Vec<OngoingTopic>,
    }
    struct OngoingTopic {
        name: StrBytes,
        partitions: Vec<OngoingPartition>,
    }
    struct OngoingPartition {
        partition_index: i32,
        replicas: Vec<i32>,
        adding_replicas: Vec<i32>,
        removing_replicas: Vec<i32>,
    }
}
