//! All APIs as a list, for what is done with each of them: by tests, fuzz targets and the embedded broker, which serves
//! all but those of SASL.

use super::*;
use crate::wire::message::Request;

/// Calls a macro with the request types of all APIs but those of SASL, and with `$more`.
macro_rules! for_each_api {
    ($callback:ident $($more:ident)*) => {
        $callback! {
            AddOffsetsToTxnRequest
            AddPartitionsToTxnRequest
            AlterConfigsRequest
            ApiVersionsRequest
            CreatePartitionsRequest
            CreateTopicsRequest
            DeleteGroupsRequest
            DeleteRecordsRequest
            DeleteTopicsRequest
            DescribeClusterRequest
            DescribeConfigsRequest
            DescribeGroupsRequest
            DescribeProducersRequest
            EndTxnRequest
            FetchRequest
            FindCoordinatorRequest
            HeartbeatRequest
            IncrementalAlterConfigsRequest
            InitProducerIdRequest
            JoinGroupRequest
            LeaveGroupRequest
            ListGroupsRequest
            ListOffsetsRequest
            ListPartitionReassignmentsRequest
            MetadataRequest
            OffsetCommitRequest
            OffsetDeleteRequest
            OffsetFetchRequest
            OffsetForLeaderEpochRequest
            ProduceRequest
            SyncGroupRequest
            TxnOffsetCommitRequest
            $($more)*
        }
    };
}
pub(crate) use for_each_api;

/// Calls a macro with the request types of all APIs.
#[cfg(any(test, feature = "fuzzing"))]
macro_rules! for_each_declared_api {
    ($callback:ident) => {
        $crate::wire::messages::every::for_each_api! { $callback SaslAuthenticateRequest SaslHandshakeRequest }
    };
}
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use for_each_declared_api;

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
        &[$(Api {
            key: $request::KEY,
            name: $request::NAME,
            min: $request::MIN,
            max: $request::MAX,
            flexible: $request::FLEXIBLE,
        }),*]
    };
}

/// Every API that is served on a connection that stands.
pub(crate) const APIS: &[Api] = for_each_api!(apis);
/// What comes before that.
pub(crate) const SASL_APIS: &[Api] = apis!(SaslAuthenticateRequest SaslHandshakeRequest);

/// The API of that number, if it is declared here.
pub(crate) fn api(key: i16) -> Option<&'static Api> {
    APIS.iter().chain(SASL_APIS).find(|api| api.key == key)
}
