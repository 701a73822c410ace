//! ApiVersions (18): which versions a broker serves. KIP-35, KIP-511, KIP-584. A broker that does not know the asked
//! version answers error 35 in the form of v0; the client reads the range of API 18 there and asks again.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api ApiVersions = 18, versions 0..=4, flexible 3;

    request ApiVersionsRequest {
        /// Letters, digits, `.` and `-`, a letter or digit at both ends, else INVALID_REQUEST. The version likewise.
        client_software_name: StrBytes [3.., ignorable],
        client_software_version: StrBytes [3.., ignorable],
    }

    response ApiVersionsResponse {
        error_code: ErrorCode,
        api_keys: Vec<ApiVersion>,
        throttle_time_ms: i32 [1.., ignorable],
        supported_features: Vec<SupportedFeature> [3.., tag 0, ignorable],
        /// −1: unknown.
        finalized_features_epoch: i64 [3.., tag 1, ignorable] = -1,
        finalized_features: Vec<FinalizedFeature> [3.., tag 2, ignorable],
        zk_migration_ready: bool [3.., tag 3, ignorable],
    }
    struct ApiVersion {
        api_key: i16,
        min_version: i16,
        max_version: i16,
    }
    struct SupportedFeature {
        name: StrBytes,
        min_version: i16,
        max_version: i16,
    }
    struct FinalizedFeature {
        name: StrBytes,
        max_version_level: i16,
        min_version_level: i16,
    }
}
