//! IncrementalAlterConfigs (44): changes single settings of topics or brokers (KIP-339).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api IncrementalAlterConfigs = 44, versions 0..=1, flexible 1;

    request IncrementalAlterConfigsRequest {
        resources: Vec<RequestResource>,
        validate_only: bool,
    }
    struct RequestResource {
        /// 2: topic, 4: broker.
        resource_type: i8,
        resource_name: StrBytes,
        configs: Vec<AlterableConfig>,
    }
    struct AlterableConfig {
        name: StrBytes,
        /// 0: set, 1: delete, 2: append, 3: subtract.
        config_operation: i8,
        value: Option<StrBytes> = Some(StrBytes::default()),
    }

    response IncrementalAlterConfigsResponse {
        throttle_time_ms: i32,
        responses: Vec<ResponseResource>,
    }
    struct ResponseResource {
        error_code: ErrorCode,
        error_message: Option<StrBytes> = Some(StrBytes::default()),
        resource_type: i8,
        resource_name: StrBytes,
    }
}
