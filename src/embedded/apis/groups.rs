//! Membership of classic groups: the requests, handed to the machine in [`groups`](crate::embedded::groups).

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::embedded::KafkaVersion;
use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::groups::Token;
use crate::embedded::refuse::Refuse;
use crate::embedded::shared::Shared;
use crate::embedded::state::{State, Waiting};
use crate::wire::messages::delete_groups::DeletedGroup;
use crate::wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, SyncGroupRequest, SyncGroupResponse, describe_groups,
};
use crate::wire::{ErrorCode, Request};

/// What can be done with a group, as bits: without access control everybody may do all of it. From 4.0 on it has
/// settings, too.
fn all_operations(version: KafkaVersion) -> i32 {
    if version >= KafkaVersion::V4_0 { 0xd48 } else { 0x148 }
}

/// Waits for what the group decides. If the cluster ends before it does, the client is told to look for another
/// coordinator, which is what a client that still listens has to do.
fn later<R>(
    call: &Call,
    state: &mut State,
    request: &R,
    token: Token,
    decided: oneshot::Receiver<R::Response>,
) -> Answer<R::Response>
where
    R: Refuse + Request,
    R::Response: Send + 'static,
{
    state.deliver_replies();
    call.cluster.timing_changed();
    let otherwise = request.refuse(call.version, ErrorCode::NOT_COORDINATOR);
    let place = Place { cluster: call.cluster.clone(), token };
    Answer::Later(Box::pin(async move {
        let response = decided.await.unwrap_or(otherwise);
        drop(place);
        response
    }))
}

/// Of one who waits; given up when the answer has come or the connection is gone.
struct Place {
    cluster: Arc<Shared>,
    token: Token,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.cluster.state();
        if state.waiting.remove(&self.token).is_some() {
            state.groups.abandon(self.token);
        }
    }
}

impl Serve for JoinGroupRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<JoinGroupResponse> {
        if let Err(code) = state.coordinates(call.broker, &self.group_id) {
            return Answer::Ready(self.refuse(call.version, code));
        }
        let (to, decided) = oneshot::channel();
        let token = state.token(Waiting::Join(to));
        let new_id = || {
            let [a, b] = call.cluster.env.random(|r| [r.u64(..), r.u64(..)]);
            format!("{a:016x}{b:016x}")
        };
        state.groups.join(call.now, &call.client, call.version, self.clone(), token, new_id);
        later(call, state, &self, token, decided)
    }
}

impl Serve for SyncGroupRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<SyncGroupResponse> {
        if call.version >= 5 && (self.protocol_type.is_none() || self.protocol_name.is_none()) {
            return Answer::Ready(self.refuse(call.version, ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        }
        if let Err(code) = state.coordinates(call.broker, &self.group_id) {
            return Answer::Ready(self.refuse(call.version, code));
        }
        let (to, decided) = oneshot::channel();
        let token = state.token(Waiting::Sync(to));
        state.groups.sync(call.now, call.version, self.clone(), token);
        later(call, state, &self, token, decided)
    }
}

impl Serve for HeartbeatRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<HeartbeatResponse> {
        let error_code = match state.coordinates(call.broker, &self.group_id) {
            Ok(()) => state.groups.heartbeat(call.now, &self),
            Err(code) => code,
        };
        call.cluster.timing_changed();
        Answer::Ready(HeartbeatResponse { error_code, ..Default::default() })
    }
}

impl Serve for LeaveGroupRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<LeaveGroupResponse> {
        if let Err(code) = state.coordinates(call.broker, &self.group_id) {
            return Answer::Ready(self.refuse(call.version, code));
        }
        let response = state.groups.leave(call.now, call.version, &self);
        state.deliver_replies();
        call.cluster.timing_changed();
        Answer::Ready(response)
    }
}

impl Serve for DescribeGroupsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<DescribeGroupsResponse> {
        let groups = self.groups.into_iter().map(|id| match state.coordinates(call.broker, &id) {
            Ok(()) => {
                let mut group = state.groups.describe(&id, call.version);
                if self.include_authorized_operations && group.error_code == ErrorCode::NONE {
                    group.authorized_operations = all_operations(state.settings.version);
                }
                group
            }
            Err(error_code) => describe_groups::DescribedGroup { error_code, group_id: id, ..Default::default() },
        });
        Answer::Ready(DescribeGroupsResponse { groups: groups.collect(), ..Default::default() })
    }
}

impl Serve for ListGroupsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<ListGroupsResponse> {
        let mut groups = state.groups.list(&self.states_filter, &self.types_filter);
        groups.retain(|g| state.coordinates(call.broker, &g.group_id).is_ok());
        Answer::Ready(ListGroupsResponse { groups, ..Default::default() })
    }
}

impl Serve for DeleteGroupsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<DeleteGroupsResponse> {
        let results = self.groups_names.into_iter().map(|group_id| {
            let error_code = match state.coordinates(call.broker, &group_id) {
                Ok(()) => state.groups.delete(&group_id),
                Err(code) => code,
            };
            DeletedGroup { group_id, error_code }
        });
        let results = results.collect();
        state.offsets_changed();
        Answer::Ready(DeleteGroupsResponse { results, ..Default::default() })
    }
}
