//! SyncGroup: the leader's assignment goes to all; who does not ask for its own within the rebalance time-out is
//! removed.

use std::time::Instant;

use bytes::Bytes;

use super::group::{Group, State};
use super::member::Waiting;
use super::{Reply, Token};
use crate::wire::messages::sync_group::{Assignment, SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ErrorCode, StrBytes};

impl Group {
    pub(super) fn sync(
        &mut self,
        now: Instant,
        version: i16,
        request: SyncGroupRequest,
        token: Token,
    ) -> Result<(), ErrorCode> {
        let missing = request.protocol_type.is_none() || request.protocol_name.is_none();
        if version >= 5 && missing {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let at = self.find_current(request.generation_id, &request.member_id, request.group_instance_id.as_deref())?;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.state {
            State::Empty => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance { .. } => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::CompletingRebalance => {
                // An earlier one of the same member, on another connection, which Kafka would never answer.
                let error_code = ErrorCode::REBALANCE_IN_PROGRESS;
                self.answer_sync(at, SyncGroupResponse { error_code, ..Default::default() });
                self.members[at].syncing = Some(Waiting { token: Some(token), version });
                self.sync_came(at);
                if self.leads(&request.member_id) {
                    self.assign(now, &request.assignments);
                }
            }
            State::Stable => {
                self.sync_came(at);
                let synced = self.synced(at);
                self.replies.push(Reply::Sync(token, synced));
            }
        }
        Ok(())
    }

    fn sync_came(&mut self, at: usize) {
        self.members[at].owes_sync = false;
        if self.members.iter().all(|m| !m.owes_sync) {
            self.sync_until = None;
        }
    }

    /// The leader's word: from here on the group is stable, and survives its coordinator.
    fn assign(&mut self, now: Instant, assignments: &[Assignment]) {
        for at in 0..self.members.len() {
            let own = assignments.iter().rev().find(|a| a.member_id == self.members[at].id.as_str());
            self.members[at].assignment = own.map(|a| Bytes::copy_from_slice(&a.assignment)).unwrap_or_default();
            let synced = self.synced(at);
            if self.answer_sync(at, synced) {
                self.members[at].touch(now);
            }
        }
        self.state = State::Stable;
        self.save();
    }

    /// The time to send SyncGroup is over.
    pub(super) fn expire_sync(&mut self, now: Instant) {
        self.sync_until = None;
        let late = |group: &Self| group.members.iter().position(|m| m.owes_sync);
        if late(self).is_none() {
            return;
        }
        while let Some(at) = late(self) {
            self.remove(at);
        }
        self.prepare_rebalance(now);
    }
}

/// Both are given and they are not the same.
fn differs(given: &Option<StrBytes>, own: &Option<String>) -> bool {
    matches!((given, own), (Some(given), Some(own)) if *given != own.as_str())
}
