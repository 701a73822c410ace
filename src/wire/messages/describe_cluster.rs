//! DescribeCluster (60): the brokers and the controller, without topics (KIP-700). KIP-919 (v1: controllers can be
//! asked as well), KIP-1073 (v2: fenced brokers).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api DescribeCluster = 60, versions 0..=2, flexible 0;

    request DescribeClusterRequest {
        include_cluster_authorized_operations: bool,
        /// 1: brokers, 2: controllers.
        endpoint_type: i8 [1..] = 1,
        include_fenced_brokers: bool [2..],
    }

    response DescribeClusterResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<StrBytes>,
        /// As asked.
        endpoint_type: i8 [1..] = 1,
        cluster_id: StrBytes,
        controller_id: i32 = -1,
        brokers: Vec<Broker>,
        /// A bit per operation; the default where they were not asked for.
        cluster_authorized_operations: i32 = i32::MIN,
    }
    struct Broker {
        broker_id: i32,
        host: StrBytes,
        port: i32,
        rack: Option<StrBytes>,
        is_fenced: bool [2..],
    }
}
