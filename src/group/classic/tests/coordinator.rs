//! A model of Kafka's classic group coordinator: states, member ids, sessions, rebalance and sync time-outs as in
//! Apache Kafka's `GroupMetadataManager`, for one group, over plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::*;

pub(super) const SESSION: Duration = Duration::from_secs(30);
const REBALANCE: Duration = Duration::from_secs(60);

/// Whom to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) client: usize,
    /// Which of the client's processes.
    pub(super) life: u64,
    pub(super) token: Token,
}

#[derive(Debug, Clone)]
pub(super) enum Request {
    Join { member_id: Arc<str>, instance_id: Option<Arc<str>>, claim: Claim },
    Sync { member_id: Arc<str>, generation: i32, assignments: Assignments },
    Heartbeat { member_id: Arc<str>, generation: i32 },
    Leave { member_id: Arc<str> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    Preparing { until: Instant },
    Completing { until: Instant },
    Stable,
}

struct Member {
    subscription: Subscription,
    session_end: Instant,
    joining: Option<Slot>,
    syncing: Option<Slot>,
    assignment: Vec<TopicPartition>,
}

pub(super) struct Coordinator {
    members: BTreeMap<Arc<str>, Member>,
    pending: BTreeMap<Arc<str>, Instant>,
    fenced: BTreeSet<Arc<str>>,
    phase: Phase,
    pub(super) generation: i32,
    leader: Arc<str>,
    ids: u64,
    replies: Vec<(Slot, Event)>,
    protocol: &'static str,
}

impl Coordinator {
    pub(super) fn new(protocol: &'static str) -> Self {
        Self {
            protocol,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            fenced: BTreeSet::new(),
            phase: Phase::Empty,
            generation: 0,
            leader: "".into(),
            ids: 0,
            replies: Vec::new(),
        }
    }

    pub(super) fn replies(&mut self) -> Vec<(Slot, Event)> {
        std::mem::take(&mut self.replies)
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn handle(&mut self, slot: Slot, request: Request, now: Instant) {
        self.expire(now);
        let Slot { token, .. } = slot;
        match request {
            Request::Join { member_id, instance_id, claim } => {
                if let Err((code, id)) = self.join(slot, member_id, instance_id, claim, now) {
                    self.replies.push((slot, Event::Joined { token, result: Err((Failure::Code(code), id)) }));
                }
            }
            Request::Sync { member_id, generation, assignments } => {
                if let Err(code) = self.sync(slot, member_id, generation, assignments, now) {
                    self.replies.push((slot, Event::Synced { token, result: Err(Failure::Code(code)) }));
                }
            }
            Request::Heartbeat { member_id, generation } => {
                let result = self.heartbeat(&member_id, generation, now).map_err(Failure::Code);
                self.replies.push((slot, Event::Heartbeat { token, result }));
            }
            Request::Leave { member_id } => {
                let known = self.pending.remove(&member_id).is_some() || self.members.contains_key(&member_id);
                self.remove(&member_id, now);
                let result = if known { Ok(()) } else { Err(Failure::Code(ErrorCode::UNKNOWN_MEMBER_ID)) };
                self.replies.push((slot, Event::Left { token, result }));
            }
        }
    }

    /// Whether a commit of this member in this generation is accepted.
    pub(super) fn commit(&mut self, member_id: &str, generation: i32, now: Instant) -> Result<(), ErrorCode> {
        self.expire(now);
        self.check(member_id, generation)?;
        let completing = matches!(self.phase, Phase::Completing { .. });
        if completing { Err(ErrorCode::REBALANCE_IN_PROGRESS) } else { Ok(()) }
    }

    /// Removes members whose session is over, or who kept the others waiting too long.
    pub(super) fn expire(&mut self, now: Instant) {
        self.pending.retain(|_, until| now < *until);
        let satisfied = |m: &Member| m.joining.is_some() || m.syncing.is_some();
        let dead = |m: &Member| !satisfied(m) && now >= m.session_end;
        let dead: Vec<_> = self.members.iter().filter(|(_, m)| dead(m)).map(|(id, _)| id.clone()).collect();
        dead.iter().for_each(|id| self.remove(id, now));
        match self.phase {
            Phase::Preparing { until } if now >= until => {
                self.pending.clear();
                self.members.retain(|_, m| m.joining.is_some() || m.subscription.instance_id.is_some());
                self.complete(now);
            }
            Phase::Preparing { .. } => self.try_complete(now),
            Phase::Completing { until } if now >= until => {
                let lazy: Vec<_> =
                    self.members.iter().filter(|(_, m)| m.syncing.is_none()).map(|(id, _)| id.clone()).collect();
                lazy.iter().for_each(|id| self.remove(id, now));
            }
            _ => {}
        }
    }

    fn join(
        &mut self,
        slot: Slot,
        member_id: Arc<str>,
        instance_id: Option<Arc<str>>,
        claim: Claim,
        now: Instant,
    ) -> Result<(), (ErrorCode, Option<Arc<str>>)> {
        if self.fenced.contains(&member_id) {
            return Err((ErrorCode::FENCED_INSTANCE_ID, None));
        }
        let subscription = |id: &Arc<str>| Subscription {
            member_id: id.clone(),
            instance_id: instance_id.clone(),
            topics: vec!["t".into()],
            owned: claim.owned.into_iter().collect(),
            generation: claim.generation,
        };
        if member_id.is_empty() {
            self.ids += 1;
            let id: Arc<str> = format!("{:04x}-{}", fastrand::Rng::with_seed(self.ids).u16(..), self.ids).into();
            if instance_id.is_none() {
                self.pending.insert(id.clone(), now + SESSION);
                return Err((ErrorCode::MEMBER_ID_REQUIRED, Some(id)));
            }
            let old = self.members.iter().find(|(_, m)| m.subscription.instance_id == instance_id);
            if let Some(old) = old.map(|(old, _)| old.clone()) {
                self.replace(slot, &old, subscription(&id), now);
            } else {
                self.add(slot, subscription(&id), now);
            }
            return Ok(());
        }
        if self.pending.remove(&member_id).is_some() {
            self.add(slot, subscription(&member_id), now);
            return Ok(());
        }
        let leads = self.leader == member_id;
        let member = self.members.get_mut(&member_id).ok_or((ErrorCode::UNKNOWN_MEMBER_ID, None))?;
        let subscription = subscription(&member_id);
        let changed = member.subscription != subscription;
        member.subscription = subscription;
        match self.phase {
            Phase::Preparing { .. } => {
                member.joining = Some(slot);
                self.try_complete(now);
            }
            Phase::Stable if leads || changed => {
                member.joining = Some(slot);
                self.prepare(now);
            }
            Phase::Completing { .. } if changed => {
                member.joining = Some(slot);
                self.prepare(now);
            }
            // A follower that asks again, with the same subscription, is told of the generation there is.
            _ => {
                member.session_end = now + SESSION;
                self.reply_joined(slot, &member_id, false);
            }
        }
        Ok(())
    }

    fn add(&mut self, slot: Slot, subscription: Subscription, now: Instant) {
        let id = subscription.member_id.clone();
        let session_end = now + SESSION;
        let member = Member { subscription, session_end, joining: Some(slot), syncing: None, assignment: vec![] };
        self.members.insert(id, member);
        self.prepare(now);
    }

    /// A static member came back under a new id (KIP-345), the leader with `skip_assignment` (KIP-814).
    fn replace(&mut self, slot: Slot, old: &Arc<str>, subscription: Subscription, now: Instant) {
        let Some(mut member) = self.members.remove(old) else { return };
        self.fenced.insert(old.clone());
        let id = subscription.member_id.clone();
        member.subscription = subscription;
        member.session_end = now + SESSION;
        member.syncing = None;
        let led = self.leader == *old;
        if led {
            self.leader = id.clone();
        }
        if self.phase != Phase::Stable {
            member.joining = Some(slot);
        }
        self.members.insert(id.clone(), member);
        match self.phase {
            Phase::Stable => self.reply_joined(slot, &id, led),
            Phase::Preparing { .. } => self.try_complete(now),
            _ => self.prepare(now),
        }
    }

    fn prepare(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            if let Some(slot) = member.syncing.take() {
                let result = Err(Failure::Code(ErrorCode::REBALANCE_IN_PROGRESS));
                self.replies.push((slot, Event::Synced { token: slot.token, result }));
                member.session_end = now + SESSION;
            }
        }
        if !matches!(self.phase, Phase::Preparing { .. }) {
            self.phase = Phase::Preparing { until: now + REBALANCE };
        }
        self.try_complete(now);
    }

    fn try_complete(&mut self, now: Instant) {
        if self.pending.is_empty() && self.members.values().all(|m| m.joining.is_some()) {
            self.complete(now);
        }
    }

    fn complete(&mut self, now: Instant) {
        self.generation += 1;
        let Some((first, _)) = self.members.iter().find(|(_, m)| m.joining.is_some()) else {
            self.phase =
                if self.members.is_empty() { Phase::Empty } else { Phase::Preparing { until: now + REBALANCE } };
            return;
        };
        if self.members.get(&self.leader).is_none_or(|m| m.joining.is_none()) {
            self.leader = first.clone();
        }
        self.phase = Phase::Completing { until: now + REBALANCE };
        let mut joined = Vec::new();
        for (id, member) in &mut self.members {
            member.session_end = now + SESSION;
            member.assignment.clear();
            joined.extend(member.joining.take().map(|slot| (slot, id.clone())));
        }
        joined.into_iter().for_each(|(slot, id)| self.reply_joined(slot, &id, false));
    }

    fn reply_joined(&mut self, slot: Slot, id: &Arc<str>, skip_assignment: bool) {
        let members = (self.leader == *id).then(|| self.members.values().map(|m| m.subscription.clone()).collect());
        let generation = self.generation;
        let joined =
            Joined { member_id: id.clone(), generation, protocol: self.protocol.into(), members, skip_assignment };
        self.replies.push((slot, Event::Joined { token: slot.token, result: Ok(joined) }));
    }

    fn sync(
        &mut self,
        slot: Slot,
        id: Arc<str>,
        generation: i32,
        mut plan: Assignments,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.check(&id, generation)?;
        match self.phase {
            Phase::Completing { .. } => {
                let member = self.members.get_mut(&id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
                member.syncing = Some(slot);
                if self.leader == id {
                    self.phase = Phase::Stable;
                    for (id, member) in &mut self.members {
                        member.assignment = plan.remove(id).unwrap_or_default();
                        member.session_end = now + SESSION;
                        if let Some(slot) = member.syncing.take() {
                            let result = Ok(member.assignment.clone());
                            self.replies.push((slot, Event::Synced { token: slot.token, result }));
                        }
                    }
                }
                Ok(())
            }
            Phase::Stable => {
                let member = self.members.get_mut(&id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
                member.session_end = now + SESSION;
                let result = Ok(member.assignment.clone());
                self.replies.push((slot, Event::Synced { token: slot.token, result }));
                Ok(())
            }
            Phase::Preparing { .. } => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    fn heartbeat(&mut self, id: &str, generation: i32, now: Instant) -> Result<(), ErrorCode> {
        self.check(id, generation)?;
        if let Some(member) = self.members.get_mut(id) {
            member.session_end = now + SESSION;
        }
        let preparing = matches!(self.phase, Phase::Preparing { .. });
        if preparing { Err(ErrorCode::REBALANCE_IN_PROGRESS) } else { Ok(()) }
    }

    fn check(&self, id: &str, generation: i32) -> Result<(), ErrorCode> {
        match () {
            () if self.fenced.contains(id) => Err(ErrorCode::FENCED_INSTANCE_ID),
            () if !self.members.contains_key(id) => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            () if generation != self.generation => Err(ErrorCode::ILLEGAL_GENERATION),
            () => Ok(()),
        }
    }

    fn remove(&mut self, id: &str, now: Instant) {
        if self.members.remove(id).is_some() {
            match self.phase {
                Phase::Preparing { .. } => self.try_complete(now),
                _ if self.members.is_empty() => {
                    self.phase = Phase::Empty;
                    self.generation += 1;
                }
                _ => self.prepare(now),
            }
        } else if matches!(self.phase, Phase::Preparing { .. }) {
            self.try_complete(now);
        }
    }
}
