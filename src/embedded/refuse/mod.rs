//! The answer that says no: for every API, what a broker sends if it refuses a request whole. Injected faults and the
//! broker's own refusals are made here; the code stands where a broker would put it, and whatever stands beside it
//! has the value that means "unknown". Pure: a function of the request, its version and the code.

mod admin;
mod data;
mod groups;
#[cfg(test)]
mod tests;

use crate::wire::messages::*;
use crate::wire::{ErrorCode, Request};

/// A request that can be refused.
pub(super) trait Refuse: Request {
    /// The answer if nothing was done and everything that was asked for has the same error.
    ///
    /// A request that names nothing may have no place for the code (no topics in Metadata before v13, say). A Fetch in
    /// a session names only what has changed: add the session's partitions before they are to be refused.
    fn refuse(&self, version: i16, code: ErrorCode) -> Self::Response;

    /// The answer if the work was done and `response` is its result, but the client shall hear of an error instead.
    fn overrule(&self, version: i16, code: ErrorCode, response: &mut Self::Response) {
        *response = self.refuse(version, code);
    }

    /// Whether the client reads an answer. One that does not (Produce with `acks=0`) is told of an error by hanging up.
    fn wants_answer(&self) -> bool {
        true
    }

    /// Sets how long the client is asked to wait. Versions that do not carry it ignore it.
    fn throttle(response: &mut Self::Response, ms: i32);
}

/// `Refuse` for one API: how its refusal is made and, where they differ from the trait's, more of the trait's methods.
macro_rules! refuse {
    ($request:ident, |$this:pat_param, $version:pat_param, $code:ident| $response:expr $(; $($more:tt)*)?) => {
        impl Refuse for $request {
            fn refuse(&self, version: i16, $code: ErrorCode) -> Self::Response {
                let ($this, $version) = (self, version);
                $response
            }

            fn throttle(response: &mut Self::Response, ms: i32) {
                response.throttle_time_ms = ms;
            }

            $($($more)*)?
        }
    };
}
use refuse;

/// APIs with one place for the code, at the top, and nothing beside it.
macro_rules! at_the_top {
    ($($request:ident => $response:ident,)*) => { $(
        refuse!($request, |_, _, error_code| $response { error_code, ..Default::default() });
    )* };
}

at_the_top! {
    HeartbeatRequest => HeartbeatResponse,
    LeaveGroupRequest => LeaveGroupResponse,
    SyncGroupRequest => SyncGroupResponse,
    ListGroupsRequest => ListGroupsResponse,
    OffsetDeleteRequest => OffsetDeleteResponse,
    AddOffsetsToTxnRequest => AddOffsetsToTxnResponse,
    EndTxnRequest => EndTxnResponse,
    // The range that goes with UNSUPPORTED_VERSION is for the caller, who knows which release it imitates.
    ApiVersionsRequest => ApiVersionsResponse,
    DescribeClusterRequest => DescribeClusterResponse,
}

refuse!(ListPartitionReassignmentsRequest, |_, _, error_code| ListPartitionReassignmentsResponse {
    error_code,
    error_message: None,
    ..Default::default()
});

refuse!(InitProducerIdRequest, |_, _, error_code| InitProducerIdResponse {
    error_code,
    producer_epoch: -1,
    ..Default::default()
});
