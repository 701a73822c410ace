//! One group: its state, its members, and what the parts ([`join`](super::join), [`rebalance`](super::rebalance),
//! [`sync`](super::sync), …) do to them all. [`Groups`](super::Groups) owns it and collects `replies` after each call.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::member::{Member, Waiting};
use super::offsets::Offsets;
use super::saved::SavedMetadata;
use super::{Reply, Token};
use crate::wire::messages::join_group::{self, JoinGroupResponse};
use crate::wire::messages::sync_group::SyncGroupResponse;
use crate::wire::{ErrorCode, StrBytes};

/// The protocol type of consumers, whose subscriptions the coordinator can read.
pub(super) const CONSUMER: &str = "consumer";

/// Kafka's fifth state, Dead, is that of a group that is not in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No members. From: start, PreparingRebalance when nobody is left.
    Empty,
    /// Members are to join again until `until`. From: Empty (then `initial` is set), CompletingRebalance, Stable.
    PreparingRebalance { until: Instant, initial: Option<Initial> },
    /// The new generation's members know it; the leader's assignment is awaited. From: PreparingRebalance.
    CompletingRebalance,
    /// The assignment is known. From: CompletingRebalance.
    Stable,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance { .. } => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }

    pub(super) fn is_preparing(self) -> bool {
        matches!(self, Self::PreparingRebalance { .. })
    }
}

/// The first rebalance of an empty group, which is delayed again whenever members have come meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Initial {
    /// The delay that runs.
    pub(super) delay: Duration,
    /// What further delays may still take.
    pub(super) remaining: Duration,
    /// Whether a member has come since the delay began.
    pub(super) new_member: bool,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) initial_delay: Duration,
    pub(super) state: State,
    pub(super) generation: i32,
    /// That of the last member that joined an empty group; `None` where nobody ever joined.
    pub(super) protocol_type: Option<String>,
    /// The protocol of the current generation.
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    /// In the order in which they joined.
    pub(super) members: Vec<Member>,
    /// Ids given out with MEMBER_ID_REQUIRED (KIP-394), and until when they are good.
    pub(super) pending: Vec<(String, Instant)>,
    /// By when all members must have sent their SyncGroup.
    pub(super) sync_until: Option<Instant>,
    /// What the current generation subscribes to, where it can be read.
    pub(super) subscribed: Option<BTreeSet<String>>,
    pub(super) offsets: Offsets,
    /// Offsets of transactions that have not ended, by producer id.
    pub(super) pending_offsets: BTreeMap<i64, Offsets>,
    /// What `__consumer_offsets` would say of the group besides its offsets.
    pub(super) saved: SavedMetadata,
    /// It has said so since the group was last looked at.
    pub(super) saved_anew: bool,
    pub(super) replies: Vec<Reply>,
}

impl Group {
    pub(super) fn new(initial_delay: Duration) -> Self {
        Self {
            initial_delay,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Vec::new(),
            pending: Vec::new(),
            sync_until: None,
            subscribed: None,
            offsets: Offsets::default(),
            pending_offsets: BTreeMap::new(),
            saved: SavedMetadata::default(),
            saved_anew: false,
            replies: Vec::new(),
        }
    }

    /// Nothing would be lost with it.
    pub(super) fn is_removable(&self) -> bool {
        self.state == State::Empty
            && self.pending.is_empty()
            && self.offsets.is_empty()
            && self.pending_offsets.is_empty()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    pub(super) fn position(&self, member_id: &str) -> Option<usize> {
        self.members.iter().position(|m| m.id == member_id)
    }

    pub(super) fn position_of_instance(&self, instance_id: &str) -> Option<usize> {
        self.members.iter().position(|m| m.instance_id.as_deref() == Some(instance_id))
    }

    pub(super) fn leads(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// The maximum over all members.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.iter().map(|m| m.rebalance_timeout).max().unwrap_or_default()
    }

    /// Where the member stands, or why there is none such: a static member is known by its instance id.
    pub(super) fn find(&self, member_id: &str, instance_id: Option<&str>) -> Result<usize, ErrorCode> {
        if let Some(instance_id) = instance_id {
            let at = self.position_of_instance(instance_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if self.members[at].id != member_id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        self.position(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// As [`find`](Self::find), for a member of the current generation.
    pub(super) fn find_current(
        &self,
        generation: i32,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<usize, ErrorCode> {
        let at = self.find(member_id, instance_id)?;
        if generation == self.generation { Ok(at) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }

    /// Takes a member out; what it waits for is answered with UNKNOWN_MEMBER_ID. (Kafka forgets the SyncGroup of a
    /// member that leaves by another connection.)
    pub(super) fn remove(&mut self, at: usize) {
        self.refuse(at, ErrorCode::UNKNOWN_MEMBER_ID, "");
        let member = self.members.remove(at);
        if self.leads(&member.id) {
            self.leader = self.members.first().map(|m| m.id.clone());
        }
    }

    pub(super) fn abandon(&mut self, token: Token) {
        for member in &mut self.members {
            member.joining.iter_mut().chain(member.syncing.iter_mut()).for_each(|waiting| waiting.abandon(token));
        }
    }

    /// Answers whatever the member waits for with an error.
    pub(super) fn refuse(&mut self, at: usize, error_code: ErrorCode, member_id: &str) {
        let version = self.members[at].joining.map_or(0, |waiting| waiting.version);
        self.answer_join(at, super::join::refused(version, error_code, member_id));
        self.answer_sync(at, SyncGroupResponse { error_code, ..Default::default() });
    }

    pub(super) fn answer_join(&mut self, at: usize, response: JoinGroupResponse) -> bool {
        answer(&mut self.members[at].joining, &mut self.replies, |token| Reply::Join(token, response))
    }

    pub(super) fn answer_sync(&mut self, at: usize, response: SyncGroupResponse) -> bool {
        answer(&mut self.members[at].syncing, &mut self.replies, |token| Reply::Sync(token, response))
    }

    /// What a member is told of the current generation; the leader with all members.
    pub(super) fn joined(&self, at: usize, version: i16) -> JoinGroupResponse {
        let member_id = &self.members[at].id;
        let members = if self.leads(member_id) { self.members_for_leader() } else { Vec::new() };
        let empty = (version < 7).then(StrBytes::default);
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.as_deref().map(StrBytes::from),
            protocol_name: self.protocol.as_deref().map(StrBytes::from).or(empty),
            leader: self.leader.as_deref().unwrap_or_default().into(),
            member_id: member_id.as_str().into(),
            members,
            ..Default::default()
        }
    }

    /// A member's assignment in the current generation.
    pub(super) fn synced(&self, at: usize) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.as_deref().map(StrBytes::from),
            protocol_name: self.protocol.as_deref().map(StrBytes::from),
            assignment: self.members[at].assignment.clone(),
            ..Default::default()
        }
    }

    fn members_for_leader(&self) -> Vec<join_group::Member> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |m: &Member| join_group::Member {
            member_id: m.id.as_str().into(),
            group_instance_id: m.instance_id.as_deref().map(StrBytes::from),
            metadata: m.metadata(protocol).unwrap_or_default(),
        };
        self.members.iter().map(member).collect()
    }
}

/// Whether somebody waited.
fn answer(waiting: &mut Option<Waiting>, replies: &mut Vec<Reply>, reply: impl FnOnce(Token) -> Reply) -> bool {
    let waited = waiting.take();
    replies.extend(waited.and_then(|w| w.token).map(reply));
    waited.is_some()
}
