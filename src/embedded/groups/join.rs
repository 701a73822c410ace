//! JoinGroup: who becomes a member, under which id, and whether that asks for a rebalance. KIP-345 (static members),
//! KIP-394 (MEMBER_ID_REQUIRED), KIP-814 (a returning static leader keeps its plan).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::group::{Group, State};
use super::member::{Member, Waiting};
use super::{Client, Reply, Token};
use crate::wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::{ErrorCode, StrBytes};

/// How long a new member may wait for its first answer: it has no id to send heartbeats with.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(300);

/// A JoinGroup in our own types, copied out of its frame.
pub(super) struct Join {
    client: Client,
    waiting: Waiting,
    pub(super) member_id: String,
    instance_id: Option<String>,
    pub(super) session_timeout: Duration,
    rebalance_timeout: Duration,
    protocol_type: String,
    protocols: Vec<(String, Bytes)>,
}

/// The error, and the member id that goes with it.
type Refusal = (ErrorCode, String);

impl Join {
    pub(super) fn new(client: &Client, version: i16, request: JoinGroupRequest, token: Token) -> Self {
        // Version 0 has one time-out for both.
        let rebalance_ms = if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
        let protocols = request.protocols.iter();
        Self {
            client: client.clone(),
            waiting: Waiting { token: Some(token), version },
            member_id: request.member_id.as_str().to_owned(),
            instance_id: request.group_instance_id.as_deref().map(str::to_owned),
            session_timeout: millis(request.session_timeout_ms),
            rebalance_timeout: millis(rebalance_ms),
            protocol_type: request.protocol_type.as_str().to_owned(),
            protocols: protocols.map(|p| (p.name.as_str().to_owned(), Bytes::copy_from_slice(&p.metadata))).collect(),
        }
    }
}

/// The answer to a JoinGroup that fails.
pub(super) fn refused(version: i16, error_code: ErrorCode, member_id: impl Into<StrBytes>) -> JoinGroupResponse {
    let protocol_name = (version < 7).then(StrBytes::default);
    JoinGroupResponse { error_code, protocol_name, member_id: member_id.into(), ..Default::default() }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl Group {
    pub(super) fn join(&mut self, now: Instant, join: Join, new_id: impl FnOnce() -> String) -> Result<(), Refusal> {
        if !self.accepts(&join) {
            return Err((ErrorCode::INCONSISTENT_GROUP_PROTOCOL, join.member_id));
        }
        if join.member_id.is_empty() {
            let name = join.instance_id.as_ref().unwrap_or(&join.client.client_id);
            let id = format!("{name}-{}", new_id());
            self.join_new(now, id, join)
        } else {
            self.join_known(now, join)
        }
    }

    /// Whether the member speaks the group's protocol type, and a protocol that all members know.
    fn accepts(&self, join: &Join) -> bool {
        if self.state == State::Empty {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|(name, _)| self.all_support(name))
    }

    fn join_new(&mut self, now: Instant, id: String, join: Join) -> Result<(), Refusal> {
        match &join.instance_id {
            Some(instance_id) => match self.position_of_instance(instance_id) {
                Some(at) => self.replace_static(now, at, id, join),
                None => self.add(now, id, join),
            },
            None if join.waiting.version >= 4 => {
                self.pending.push((id.clone(), now + join.session_timeout));
                return Err((ErrorCode::MEMBER_ID_REQUIRED, id));
            }
            None => self.add(now, id, join),
        }
        Ok(())
    }

    fn join_known(&mut self, now: Instant, join: Join) -> Result<(), Refusal> {
        if let Some(at) = self.pending.iter().position(|(id, _)| *id == join.member_id) {
            if join.instance_id.is_some() {
                // A static member never gets a pending id; Kafka runs into an exception.
                return Err((ErrorCode::UNKNOWN_SERVER_ERROR, String::new()));
            }
            self.pending.remove(at);
            self.add(now, join.member_id.clone(), join);
            return Ok(());
        }
        let at = match self.find(&join.member_id, join.instance_id.as_deref()) {
            Ok(at) => at,
            Err(code) => return Err((code, join.member_id)),
        };
        let unchanged = self.members[at].protocols == join.protocols;
        let known = match self.state {
            // It may not have got the answer to its first JoinGroup.
            State::CompletingRebalance => unchanged,
            // A leader that asks again wants a new assignment: the partitions of a topic may have changed.
            State::Stable => unchanged && !self.leads(&join.member_id),
            State::Empty | State::PreparingRebalance { .. } => false,
        };
        if known {
            let joined = self.joined(at, join.waiting.version);
            self.replies.extend(join.waiting.token.map(|token| Reply::Join(token, joined)));
        } else {
            self.update(at, join);
            self.rebalance_or_complete(now);
        }
        Ok(())
    }

    fn add(&mut self, now: Instant, id: String, join: Join) {
        if let State::PreparingRebalance { initial: Some(initial), .. } = &mut self.state {
            initial.new_member = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.push(Member {
            id,
            instance_id: join.instance_id,
            client: join.client,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            is_new: true,
            session_until: Some(now + NEW_MEMBER_TIMEOUT),
            joining: Some(join.waiting),
            syncing: None,
            owes_sync: false,
        });
        self.rebalance_or_complete(now);
    }

    /// The member asks again, perhaps with other protocols. An earlier JoinGroup of it that still waits, on another
    /// connection, is sent away; Kafka never answers it.
    fn update(&mut self, at: usize, join: Join) {
        if self.members[at].joining.is_some() {
            let id = self.members[at].id.clone();
            self.refuse(at, ErrorCode::REBALANCE_IN_PROGRESS, &id);
        }
        let member = &mut self.members[at];
        member.protocols = join.protocols;
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.joining = Some(join.waiting);
    }

    /// A static member came back under a new id: the old one is fenced, and a stable group stays as it is unless the
    /// next generation's protocol would be another.
    fn replace_static(&mut self, now: Instant, at: usize, id: String, join: Join) {
        let version = join.waiting.version;
        let old_id = self.members[at].id.clone();
        let old_leader = self.leader.clone();
        self.refuse(at, ErrorCode::FENCED_INSTANCE_ID, &old_id);
        if self.leads(&old_id) {
            self.leader = Some(id.clone());
        }
        let member = &mut self.members[at];
        member.id = id;
        member.is_new = false;
        member.touch(now);
        self.update(at, join);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol => {
                self.save();
                let mut joined = self.joined(at, version);
                if version >= 9 {
                    joined.skip_assignment = !joined.members.is_empty();
                } else {
                    // It must not take itself for the leader, or it would assign without a rebalance.
                    joined.members.clear();
                    joined.leader = old_leader.unwrap_or_default().into();
                }
                self.answer_join(at, joined);
            }
            // In CompletingRebalance the leader may have been told of the old id, and would assign to it.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(now),
            State::Empty | State::PreparingRebalance { .. } => self.maybe_complete(now),
        }
    }
}
