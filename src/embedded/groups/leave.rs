//! LeaveGroup: members go by their id, or, sent away by an administrator, by their instance id (KIP-345).

use std::time::Instant;

use super::group::{Group, State};
use crate::wire::ErrorCode;
use crate::wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};

/// Who is to leave, whatever the version.
pub(super) fn leaving(version: i16, request: &LeaveGroupRequest) -> Vec<MemberIdentity> {
    if version >= 3 {
        return request.members.clone();
    }
    vec![MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }]
}

/// The answer: before version 3 the only member's error is the request's.
pub(super) fn left(version: i16, members: Vec<MemberIdentity>, codes: Vec<ErrorCode>) -> LeaveGroupResponse {
    if version < 3 {
        let error_code = codes.first().copied().unwrap_or_default();
        return LeaveGroupResponse { error_code, ..Default::default() };
    }
    let response = |(m, error_code): (MemberIdentity, _)| MemberResponse {
        member_id: m.member_id,
        group_instance_id: m.group_instance_id,
        error_code,
    };
    LeaveGroupResponse { members: members.into_iter().zip(codes).map(response).collect(), ..Default::default() }
}

impl Group {
    pub(super) fn leave(&mut self, now: Instant, members: &[MemberIdentity]) -> Vec<ErrorCode> {
        let results: Vec<_> = members.iter().map(|member| self.leave_one(member)).collect();
        // Kafka starts a rebalance even if only an id that was not used yet was given back.
        if results.iter().any(Result::is_ok) && self.state != State::Empty {
            self.rebalance_or_complete(now);
        }
        results.into_iter().map(|result| result.err().unwrap_or_default()).collect()
    }

    fn leave_one(&mut self, member: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance_id = member.group_instance_id.as_deref();
        let at = if member.member_id.is_empty() {
            instance_id.and_then(|id| self.position_of_instance(id)).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?
        } else if let Some(at) = self.pending.iter().position(|(id, _)| member.member_id == id.as_str()) {
            self.pending.remove(at);
            return Ok(());
        } else {
            self.find(&member.member_id, instance_id)?
        };
        self.remove(at);
        Ok(())
    }
}
