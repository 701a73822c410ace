//! The rebalance: from the call to join again to the new generation. The join phase ends when all members have joined
//! and no id is outstanding, or after the rebalance time-out, which drops dynamic members that did not come.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::group::{Group, Initial, State};
use crate::wire::ErrorCode;
use crate::wire::messages::consumer_protocol::{Blob, ConsumerProtocolSubscription};
use crate::wire::messages::sync_group::SyncGroupResponse;

impl Group {
    /// Something changed: start a rebalance, or see whether the one that runs is complete.
    pub(super) fn rebalance_or_complete(&mut self, now: Instant) {
        if self.state.is_preparing() { self.maybe_complete(now) } else { self.prepare_rebalance(now) }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Instant) {
        if self.state == State::CompletingRebalance {
            for at in 0..self.members.len() {
                self.members[at].assignment = Bytes::new();
                let error_code = ErrorCode::REBALANCE_IN_PROGRESS;
                if self.answer_sync(at, SyncGroupResponse { error_code, ..Default::default() }) {
                    self.members[at].touch(now);
                }
            }
        }
        self.forget_syncs();
        if self.state == State::Empty {
            let delay = self.initial_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            let initial = Some(Initial { delay, remaining, new_member: false });
            self.state = State::PreparingRebalance { until: now + delay, initial };
        } else {
            self.state = State::PreparingRebalance { until: now + self.rebalance_timeout(), initial: None };
            self.maybe_complete(now);
        }
    }

    /// The first rebalance of an empty group waits for its delay in any case.
    pub(super) fn maybe_complete(&mut self, now: Instant) {
        if matches!(self.state, State::PreparingRebalance { initial: None, .. }) && self.all_joined() {
            self.complete(now);
        }
    }

    pub(super) fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.iter().all(|m| m.joining.is_some())
    }

    /// The time to join is over.
    pub(super) fn expire_join(&mut self, now: Instant) {
        let State::PreparingRebalance { until, initial } = &mut self.state else { return };
        match initial {
            Some(initial) if initial.new_member && !initial.remaining.is_zero() => {
                initial.new_member = false;
                let elapsed = initial.delay;
                initial.delay = self.initial_delay.min(initial.remaining);
                initial.remaining = initial.remaining.saturating_sub(elapsed);
                *until = now + initial.delay;
            }
            _ => self.complete(now),
        }
    }

    /// Ends the join phase.
    pub(super) fn complete(&mut self, now: Instant) {
        let gone = |group: &Self| group.members.iter().position(|m| m.joining.is_none() && !m.is_static());
        while let Some(at) = gone(self) {
            self.remove(at);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Only absent static members: wait until one comes or their sessions end.
            let wait = self.rebalance_timeout().max(Duration::from_millis(1));
            if let State::PreparingRebalance { until, initial } = &mut self.state {
                *until = now + wait;
                if let Some(initial) = initial {
                    (initial.new_member, initial.remaining) = (false, Duration::ZERO);
                }
            }
            return;
        }
        self.generation += 1;
        self.forget_syncs();
        self.protocol = self.select_protocol();
        self.subscribed = self.subscriptions();
        if self.members.is_empty() {
            self.state = State::Empty;
            self.save();
            return;
        }
        self.state = State::CompletingRebalance;
        self.sync_until = Some(now + self.rebalance_timeout());
        for at in 0..self.members.len() {
            if let Some(waiting) = self.members[at].joining {
                let joined = self.joined(at, waiting.version);
                self.answer_join(at, joined);
            }
            let member = &mut self.members[at];
            member.touch(now);
            member.is_new = false;
            member.owes_sync = true;
        }
    }

    /// The leader stays if it joined; else the first that did follows. Whether there is one.
    fn elect_leader(&mut self) -> bool {
        let leader = self.leader.as_deref().and_then(|id| self.position(id));
        if leader.is_some_and(|at| self.members[at].joining.is_some()) {
            return true;
        }
        let Some(member) = self.members.iter().find(|m| m.joining.is_some()) else { return false };
        self.leader = Some(member.id.clone());
        true
    }

    fn forget_syncs(&mut self) {
        self.sync_until = None;
        self.members.iter_mut().for_each(|m| m.owes_sync = false);
    }

    pub(super) fn all_support(&self, protocol: &str) -> bool {
        self.members.iter().all(|m| m.supports(protocol))
    }

    /// Each member votes for the first of its protocols that all know; of equal votes the first cast wins.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for member in &self.members {
            let mut names = member.protocols.iter().map(|(name, _)| name.as_str());
            let Some(vote) = names.find(|name| self.all_support(name)) else { continue };
            match votes.iter_mut().find(|(name, _)| *name == vote) {
                Some((_, count)) => *count += 1,
                None => votes.push((vote, 1)),
            }
        }
        // `max_by_key` takes the last of equals.
        votes.iter().rev().max_by_key(|(_, count)| count).map(|(name, _)| (*name).to_owned())
    }

    /// All topics that members subscribe to, if they are consumers and all say so in a way we can read.
    pub(super) fn subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in &self.members {
            let metadata = member.metadata(self.protocol.as_deref()?)?;
            let (_, subscription) = ConsumerProtocolSubscription::from_blob(metadata).ok()?;
            topics.extend(subscription.topics.iter().map(|topic| topic.as_str().to_owned()));
        }
        Some(topics)
    }
}
