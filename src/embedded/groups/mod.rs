//! The broker's side of classic consumer groups, as Apache Kafka 4.2's group coordinator keeps them: membership,
//! rebalances and committed offsets. The broker's request handlers call [`Groups`]; it owns no I/O and no clock, takes
//! `now` as an argument, and hands answers that had to wait out of [`Groups::take_replies`].
//!
//! What must stay true: a request that waits is answered exactly once, unless it is abandoned; no deadline at or before
//! `now` is left behind by a call that was given `now`; the same calls give the same answers in the same order
//! (members stand in the order in which they joined).

mod describe;
mod group;
mod join;
mod leave;
mod member;
mod offsets;
mod rebalance;
mod saved;
mod session;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use group::Group;
use join::Join;
pub(in crate::embedded) use offsets::{Committer, Stored};

use crate::wire::ErrorCode;
use crate::wire::messages::heartbeat::HeartbeatRequest;
use crate::wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// Kafka's `offsets.retention.check.interval.ms`: how often groups with nothing left in them are forgotten.
const CLEAN_UP_INTERVAL: Duration = Duration::from_secs(600);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::embedded) struct Client {
    /// From the request's header.
    pub(in crate::embedded) client_id: String,
    /// As DescribeGroups shows it; Kafka writes `/127.0.0.1`.
    pub(in crate::embedded) host: String,
}

/// Names a request that waits; given by the caller, unique among those that wait.
pub(in crate::embedded) type Token = u64;

/// The answer to a request, at once or after a while.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::embedded) enum Reply {
    Join(Token, JoinGroupResponse),
    Sync(Token, SyncGroupResponse),
}

impl Reply {
    /// Whose answer it is.
    pub(in crate::embedded) fn token(&self) -> Token {
        match self {
            Self::Join(token, _) | Self::Sync(token, _) => *token,
        }
    }
}

/// The broker's settings for groups.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Settings {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members. Kafka's default is 3 s.
    pub(in crate::embedded) initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`. Kafka's default is 6 s.
    pub(in crate::embedded) min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`.
    pub(in crate::embedded) max_session_timeout: Duration,
    /// `offset.metadata.max.bytes`, in UTF-16 units as Kafka counts them.
    pub(in crate::embedded) offset_metadata_max: usize,
}

impl Default for Settings {
    /// No initial delay, sessions of 1 s to 30 min, metadata of up to 4,096.
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            min_session_timeout: Duration::from_secs(1),
            max_session_timeout: Duration::from_secs(1800),
            offset_metadata_max: 4096,
        }
    }
}

/// All groups of the cluster, whichever broker coordinates them.
#[derive(Debug)]
pub(in crate::embedded) struct Groups {
    settings: Settings,
    groups: BTreeMap<String, Group>,
    replies: Vec<Reply>,
    /// A snapshot would say something new of a group's members.
    saved_anew: bool,
    clean_up_at: Option<Instant>,
    /// Position of the next commit in the order of all commits.
    next_commit: u64,
}

impl Groups {
    pub(in crate::embedded) fn new(settings: Settings) -> Self {
        Self {
            settings,
            groups: BTreeMap::new(),
            replies: Vec::new(),
            saved_anew: false,
            clean_up_at: None,
            next_commit: 0,
        }
    }

    /// All groups, by name.
    pub(in crate::embedded) fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// JoinGroup. `new_id` gives what makes a new member's id unique.
    pub(in crate::embedded) fn join(
        &mut self,
        now: Instant,
        client: &Client,
        version: i16,
        request: JoinGroupRequest,
        token: Token,
        new_id: impl FnOnce() -> String,
    ) {
        self.on_time(now);
        let group_id = request.group_id.as_str().to_owned();
        let join = Join::new(client, version, request, token);
        let sessions = self.settings.min_session_timeout..=self.settings.max_session_timeout;
        let refusal = if group_id.is_empty() {
            Err((ErrorCode::INVALID_GROUP_ID, join.member_id))
        } else if !sessions.contains(&join.session_timeout) {
            Err((ErrorCode::INVALID_SESSION_TIMEOUT, join.member_id))
        } else if !join.member_id.is_empty() && !self.groups.contains_key(&group_id) {
            Err((ErrorCode::UNKNOWN_MEMBER_ID, join.member_id))
        } else {
            let delay = self.settings.initial_rebalance_delay;
            let group = self.groups.entry(group_id).or_insert_with(|| Group::new(delay));
            let result = group.join(now, join, new_id);
            group.expire(now);
            self.replies.append(&mut group.replies);
            self.saved_anew |= std::mem::take(&mut group.saved_anew);
            result
        };
        if let Err((error_code, member_id)) = refusal {
            self.replies.push(Reply::Join(token, join::refused(version, error_code, member_id)));
        }
    }

    /// SyncGroup.
    pub(in crate::embedded) fn sync(&mut self, now: Instant, version: i16, request: SyncGroupRequest, token: Token) {
        self.on_time(now);
        let group_id = request.group_id.as_str().to_owned();
        let result = if group_id.is_empty() {
            Err(ErrorCode::INVALID_GROUP_ID)
        } else {
            let sync = |group: &mut Group| group.sync(now, version, request, token);
            self.with(now, &group_id, sync).unwrap_or(Err(ErrorCode::UNKNOWN_MEMBER_ID))
        };
        if let Err(error_code) = result {
            self.replies.push(Reply::Sync(token, SyncGroupResponse { error_code, ..Default::default() }));
        }
    }

    /// Heartbeat.
    pub(in crate::embedded) fn heartbeat(&mut self, now: Instant, request: &HeartbeatRequest) -> ErrorCode {
        self.on_time(now);
        if request.group_id.is_empty() {
            return ErrorCode::INVALID_GROUP_ID;
        }
        let result = self.with(now, &request.group_id, |group| group.heartbeat(now, request));
        result.unwrap_or(Err(ErrorCode::UNKNOWN_MEMBER_ID)).err().unwrap_or(ErrorCode::NONE)
    }

    /// LeaveGroup: one member up to version 2, any number from version 3 on.
    pub(in crate::embedded) fn leave(
        &mut self,
        now: Instant,
        version: i16,
        request: &LeaveGroupRequest,
    ) -> LeaveGroupResponse {
        self.on_time(now);
        if request.group_id.is_empty() {
            return LeaveGroupResponse { error_code: ErrorCode::INVALID_GROUP_ID, ..Default::default() };
        }
        let members = leave::leaving(version, request);
        let codes = self.with(now, &request.group_id, |group| group.leave(now, &members));
        let codes = codes.unwrap_or_else(|| vec![ErrorCode::UNKNOWN_MEMBER_ID; members.len()]);
        leave::left(version, members, codes)
    }

    /// Answers that have become due, in the order in which they did.
    pub(in crate::embedded) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// Whether generations were completed, or groups emptied, since the last call: a stored snapshot must follow.
    pub(in crate::embedded) fn take_saved_anew(&mut self) -> bool {
        std::mem::take(&mut self.saved_anew)
    }

    /// When [`on_time`](Self::on_time) has something to do next.
    pub(in crate::embedded) fn next_timeout(&self) -> Option<Instant> {
        let removable = self.groups.values().any(Group::is_removable);
        let clean_up = self.clean_up_at.filter(|_| removable);
        self.groups.values().filter_map(Group::next_timeout).chain(clean_up).min()
    }

    /// Time has passed: sessions end, rebalances complete, groups with nothing left in them are forgotten.
    pub(in crate::embedded) fn on_time(&mut self, now: Instant) {
        for group in self.groups.values_mut() {
            group.expire(now);
            self.replies.append(&mut group.replies);
            self.saved_anew |= std::mem::take(&mut group.saved_anew);
        }
        if self.clean_up_at.is_none_or(|at| at <= now) {
            if self.clean_up_at.is_some() {
                self.groups.retain(|_, group| !group.is_removable());
            }
            self.clean_up_at = Some(now + CLEAN_UP_INTERVAL);
        }
    }

    /// The client that waits under this token has gone. Kafka does not notice that either while it owes an answer: the
    /// member stays until its session, which runs again from the answer on, is over.
    pub(in crate::embedded) fn abandon(&mut self, token: Token) {
        self.replies.retain(|reply| reply.token() != token);
        self.groups.values_mut().for_each(|group| group.abandon(token));
    }

    /// Runs `f` on the group, if there is one, and collects its answers.
    fn with<T>(&mut self, now: Instant, group_id: &str, f: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let group = self.groups.get_mut(group_id)?;
        let result = f(group);
        group.expire(now);
        self.replies.append(&mut group.replies);
        self.saved_anew |= std::mem::take(&mut group.saved_anew);
        Some(result)
    }
}
