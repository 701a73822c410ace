//! DescribeConfigs

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
        resource_type: i8,
        resource_name: StrBytes,
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
        value: Option<StrBytes> = Some(StrBytes::default()),
        read_only: bool,
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
