//! All APIs as a list, for what must hold of each of them: tests and fuzz targets.

use super::*;
use crate::wire::message::Request;

/// Calls a macro with the request types of all APIs, for what must hold of each of them.
macro_rules! for_each_api {
    ($callback:ident) => {
        $callback! {
            ApiVersionsRequest
            CreatePartitionsRequest
            CreateTopicsRequest
            DeleteGroupsRequest
            DeleteTopicsRequest
            DescribeConfigsRequest
            DescribeGroupsRequest
            FetchRequest
            FindCoordinatorRequest
            HeartbeatRequest
            InitProducerIdRequest
            JoinGroupRequest
            LeaveGroupRequest
            ListGroupsRequest
            ListOffsetsRequest
            MetadataRequest
            OffsetCommitRequest
            OffsetFetchRequest
            OffsetForLeaderEpochRequest
            ProduceRequest
            SyncGroupRequest
        }
    };
}
pub(crate) use for_each_api;

/// What is declared about one API, for those who meet it as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
    pub(crate) flexible: i16,
}

macro_rules! apis {
    ($($request:ident)*) => {
        /// Every API declared here.
        pub(crate) const APIS: &[Api] = &[$(Api {
            key: $request::KEY,
            name: $request::NAME,
            min: $request::MIN,
            max: $request::MAX,
            flexible: $request::FLEXIBLE,
        }),*];
    };
}
for_each_api!(apis);

/// The API of that number, if it is declared here.
pub(crate) fn api(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}
