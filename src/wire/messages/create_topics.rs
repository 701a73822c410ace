//! CreateTopics (19): new topics. KIP-464 (v4: the broker's defaults), KIP-525 (v5: their settings in the answer).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes, Uuid};

message! {
    api CreateTopics = 19, versions 2..=7, flexible 5;

    request CreateTopicsRequest {
        topics: Vec<CreatableTopic>,
        timeout_ms: i32 = 60000,
        validate_only: bool,
    }
    struct CreatableTopic {
        name: StrBytes,
        /// −1: the broker's default, or as `assignments` say.
        num_partitions: i32,
        /// −1: the broker's default, or as `assignments` say.
        replication_factor: i16,
        assignments: Vec<ReplicaAssignment>,
        configs: Vec<CreatableTopicConfig>,
    }
    struct ReplicaAssignment {
        partition_index: i32,
        broker_ids: Vec<i32>,
    }
    struct CreatableTopicConfig {
        name: StrBytes,
        value: Option<StrBytes> = Some(StrBytes::default()),
    }

    response CreateTopicsResponse {
        throttle_time_ms: i32,
        topics: Vec<CreatedTopic>,
    }
    struct CreatedTopic {
        name: StrBytes,
        topic_id: Uuid [7.., ignorable],
        error_code: ErrorCode,
        error_message: Option<StrBytes> = Some(StrBytes::default()),
        topic_config_error_code: ErrorCode [5.., tag 0, ignorable],
        num_partitions: i32 [5.., ignorable] = -1,
        replication_factor: i16 [5.., ignorable] = -1,
        configs: Option<Vec<CreatedTopicConfig>> [5.., ignorable] = Some(Vec::new()),
    }
    struct CreatedTopicConfig {
        name: StrBytes,
        value: Option<StrBytes> = Some(StrBytes::default()),
        read_only: bool,
        config_source: i8 = -1,
        is_sensitive: bool,
    }
}
