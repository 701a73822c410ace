//! AlterConfigs (33): replaces all settings of topics or brokers. Superseded by IncrementalAlterConfigs.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api AlterConfigs = 33, versions 0..=2, flexible 2;

    request AlterConfigsRequest {
        resources: Vec<RequestResource>,
        validate_only: bool,
    }
    struct RequestResource {
        /// 2: topic, 4: broker.
        resource_type: i8,
        resource_name: StrBytes,
        /// What is not named goes back to its default.
        configs: Vec<AlterableConfig>,
    }
    struct AlterableConfig {
        name: StrBytes,
        value: Option<StrBytes> = Some(StrBytes::default()),
    }

    response AlterConfigsResponse {
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
