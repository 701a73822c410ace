//! Every message, one file per API with request and response side by side. Field names are Kafka's in snake_case;
//! versions run from the oldest 4.2 still knows to the newest stable one of 4.2.

use super::message::Request;

pub(crate) mod api_versions;
pub(crate) mod consumer_protocol;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_topics;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;

pub(crate) use api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub(crate) use create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
pub(crate) use create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub(crate) use delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
pub(crate) use delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub(crate) use describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub(crate) use describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
pub(crate) use fetch::{FetchRequest, FetchResponse};
pub(crate) use find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
pub(crate) use heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub(crate) use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub(crate) use join_group::{JoinGroupRequest, JoinGroupResponse};
pub(crate) use leave_group::{LeaveGroupRequest, LeaveGroupResponse};
pub(crate) use list_groups::{ListGroupsRequest, ListGroupsResponse};
pub(crate) use list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub(crate) use metadata::{MetadataRequest, MetadataResponse};
pub(crate) use offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
pub(crate) use offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
pub(crate) use offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub(crate) use produce::{ProduceRequest, ProduceResponse};
pub(crate) use sync_group::{SyncGroupRequest, SyncGroupResponse};

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
