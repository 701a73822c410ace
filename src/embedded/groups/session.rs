//! Heartbeats, and everything that happens because time passes: sessions end, ids that were given out lapse, the time
//! to join or to sync is over.

use std::time::Instant;

use super::group::{Group, State};
use crate::wire::ErrorCode;
use crate::wire::messages::heartbeat::HeartbeatRequest;

/// What is due.
enum Due {
    /// The session of the member at this place.
    Session(usize),
    /// The id at this place, given out and not used.
    Pending(usize),
    Sync,
    Join,
}

impl Group {
    pub(super) fn heartbeat(&mut self, now: Instant, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        let instance_id = request.group_instance_id.as_deref();
        let at = self.find_current(request.generation_id, &request.member_id, instance_id)?;
        self.members[at].touch(now);
        if self.state.is_preparing() { Err(ErrorCode::REBALANCE_IN_PROGRESS) } else { Ok(()) }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines().map(|(at, _)| at).min()
    }

    /// Does what is due, the earliest first.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, due)) = self.deadlines().filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at) {
            match due {
                Due::Session(at) => self.expire_session(now, at),
                Due::Pending(at) => {
                    self.pending.remove(at);
                    self.complete_if_all_joined(now);
                }
                Due::Sync => self.expire_sync(now),
                Due::Join => self.expire_join(now),
            }
        }
    }

    fn deadlines(&self) -> impl Iterator<Item = (Instant, Due)> {
        let sessions = self.members.iter().enumerate();
        let sessions = sessions.filter_map(|(at, m)| Some((m.session_until?, Due::Session(at))));
        let pending = self.pending.iter().enumerate().map(|(at, (_, until))| (*until, Due::Pending(at)));
        let sync = self.sync_until.map(|until| (until, Due::Sync));
        let join = match self.state {
            State::PreparingRebalance { until, .. } => Some((until, Due::Join)),
            _ => None,
        };
        sessions.chain(pending).chain(sync).chain(join)
    }

    fn expire_session(&mut self, now: Instant, at: usize) {
        if self.members[at].needs_no_heartbeat() {
            self.members[at].session_until = None;
            return;
        }
        self.remove(at);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(now),
            State::Empty | State::PreparingRebalance { .. } => self.complete_if_all_joined(now),
        }
    }

    /// Unlike [`maybe_complete`](Self::maybe_complete), not held up by the initial delay.
    fn complete_if_all_joined(&mut self, now: Instant) {
        if self.state.is_preparing() && self.all_joined() {
            self.complete(now);
        }
    }
}
