//! Metadata (3): brokers, and for topics their partitions, leaders and epochs. KIP-320 (epochs), KIP-516 (topic ids),
//! KIP-1102 (an error code for all, REBOOTSTRAP_REQUIRED).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes, Uuid};

message! {
    api Metadata = 3, versions 0..=13, flexible 9;

    request MetadataRequest {
        /// `None`: all topics (in v0 an empty list says so).
        topics: Option<Vec<RequestTopic>> [null 1..] = Some(Vec::new()),
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..=10],
        include_topic_authorized_operations: bool [8..],
    }
    struct RequestTopic {
        /// Asking by id, with a null name, works only from v12.
        topic_id: Uuid [10.., ignorable],
        name: Option<StrBytes> [null 10..] = Some(StrBytes::default()),
    }

    response MetadataResponse {
        throttle_time_ms: i32 [3.., ignorable],
        brokers: Vec<Broker>,
        cluster_id: Option<StrBytes> [2.., ignorable],
        /// On KRaft clusters some broker; requests to it are forwarded.
        controller_id: i32 [1.., ignorable] = -1,
        topics: Vec<Topic>,
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        error_code: ErrorCode [13.., ignorable],
    }
    struct Broker {
        node_id: i32,
        host: StrBytes,
        port: i32,
        rack: Option<StrBytes> [1.., ignorable],
    }
    struct Topic {
        error_code: ErrorCode,
        name: Option<StrBytes> [null 12..] = Some(StrBytes::default()),
        topic_id: Uuid [10.., ignorable],
        is_internal: bool [1.., ignorable],
        partitions: Vec<Partition>,
        /// `i32::MIN`: not asked.
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }
    struct Partition {
        error_code: ErrorCode,
        partition_index: i32,
        /// −1: none at the moment.
        leader_id: i32,
        leader_epoch: i32 [7.., ignorable] = -1,
        replica_nodes: Vec<i32>,
        isr_nodes: Vec<i32>,
        offline_replicas: Vec<i32> [5.., ignorable],
    }
}
