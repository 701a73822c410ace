//! DescribeConfigs (32): settings of topics, brokers and others. KIP-226 (where they come from).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api DescribeConfigs = 32, versions 1..=4, flexible 4;

    request DescribeConfigsRequest {
        resources: Vec<Resource>,
        include_synonyms: bool,
        include_documentation: bool [3..],
    }
    struct Resource {
        /// 2: topic, 4: broker, 8: broker logger, 16: client metrics, 32: group.
        resource_type: i8,
        resource_name: StrBytes,
        /// `None`: all.
        configuration_keys: Option<Vec<StrBytes>> = Some(Vec::new()),
    }

    response DescribeConfigsResponse {
        throttle_time_ms: i32,
        results: Vec<ResourceConfigs>,
    }
    struct ResourceConfigs {
        error_code: ErrorCode,
        error_message: Option<StrBytes> = Some(StrBytes::default()),
        resource_type: i8,
        resource_name: StrBytes,
        configs: Vec<ConfigEntry>,
    }
    struct ConfigEntry {
        name: StrBytes,
        /// `None` if sensitive.
        value: Option<StrBytes> = Some(StrBytes::default()),
        read_only: bool,
        /// 1: set on the topic, 2 to 4: on brokers, 5: default, and more.
        config_source: i8 = -1,
        is_sensitive: bool,
        synonyms: Vec<Synonym>,
        config_type: i8 [3.., ignorable],
        documentation: Option<StrBytes> [3.., ignorable] = Some(StrBytes::default()),
    }
    struct Synonym {
        name: StrBytes,
        value: Option<StrBytes> = Some(StrBytes::default()),
        source: i8,
    }
}
