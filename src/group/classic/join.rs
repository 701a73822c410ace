//! The way into a generation: JoinGroup, the leader's plan, SyncGroup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::judge::{Verdict, judge};
use super::machine::{AfterRevoke, Heartbeat, Lead, LeaveWait, Machine, PLAN_LIMIT, SYNC_TIME, State, Sync};
use super::{Action, Failure, Joined, Token};
use crate::client::types::{TopicName, TopicPartition};
use crate::error::{Error, ErrorKind};
use crate::group::assignor::{Assignments, Assignor, Claim};
use crate::wire::ErrorCode;

impl Machine {
    pub(super) fn send_join(&mut self) {
        let token = self.token();
        self.state = State::Joining { token };
        let claim = self.claim();
        self.act(Action::Join { token, member_id: self.member_id.clone(), claim, reason: self.reason });
    }

    /// What is owned counts as of the generation last entered: its leader knew of it and gave it to nobody else.
    fn claim(&self) -> Claim {
        if !self.config.is_cooperative() {
            return self.last_assigned.clone();
        }
        Claim { owned: self.owned.clone(), generation: self.generation.unwrap_or(-1) }
    }

    /// `result`'s member id is the one that comes with MEMBER_ID_REQUIRED.
    pub(super) fn on_joined(
        &mut self,
        token: Token,
        result: Result<Joined, (Failure, Option<Arc<str>>)>,
        now: Instant,
    ) {
        match &mut self.state {
            State::Joining { token: asked } if *asked == token => {}
            State::Leaving { wait: wait @ LeaveWait::MemberId(_), .. } if *wait == LeaveWait::MemberId(token) => {
                *wait = LeaveWait::Turn(now);
                self.member_id = match result {
                    Ok(joined) => joined.member_id,
                    Err((_, given)) => given.unwrap_or_default(),
                };
                return;
            }
            _ => return,
        }
        match result {
            Ok(joined) => self.enter_generation(joined, now),
            Err((Failure::Code(ErrorCode::MEMBER_ID_REQUIRED), Some(given))) if self.member_id.is_empty() => {
                self.member_id = given;
                self.send_join();
            }
            Err((failure, _)) => self.on_join_failure("JoinGroup", &failure, now),
        }
    }

    /// JoinGroup or SyncGroup failed: the way is always to join anew. What is owned is kept unless the coordinator may
    /// have given it away.
    fn on_join_failure(&mut self, api: &str, failure: &Failure, now: Instant) {
        self.reason = "the last attempt to join failed";
        // Whatever follows, nothing waits for this request any more.
        self.state = State::Unjoined { not_before: now };
        match judge(api, failure, &self.config) {
            Verdict::Fatal(error) => return self.fail(error),
            Verdict::NewMember => return self.lose_membership(now, false),
            Verdict::NewGeneration => return self.lose_membership(now, true),
            Verdict::FindCoordinator => self.lose_coordinator(now),
            Verdict::Again | Verdict::Rebalance => {}
        }
        if let Some(parting) = self.parting.take() {
            return self.go_on_parting(parting, now);
        }
        if self.owned.is_empty() {
            return self.lose_membership(now, true);
        }
        let not_before = now + self.pause();
        self.state = State::Unjoined { not_before };
    }

    fn enter_generation(&mut self, joined: Joined, now: Instant) {
        let Some(assignor) = self.config.assignors.iter().copied().find(|a| a.name() == joined.protocol) else {
            let code = Failure::Code(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
            return self.on_join_failure("JoinGroup", &code, now);
        };
        self.member_id = joined.member_id;
        self.generation = Some(joined.generation);
        self.assignor = Some(assignor);
        self.heartbeat = Heartbeat { in_flight: None, next: Some(now + self.config.heartbeat_interval) };
        // When the others had joined is not known; that the session lived before is.
        self.settled_at = self.session_from.or(Some(now));
        // This answer may be long under way; what is owned counts from a request that was answered, SyncGroup's at first.
        if self.owned.is_empty() {
            self.session_from = Some(now);
        }
        let Some(members) = joined.members else {
            self.follow();
            self.state = State::Syncing(Sync::Due { not_before: now, plan: Assignments::new() });
            return;
        };
        let topics: BTreeSet<TopicName> = members.iter().flat_map(|m| m.topics.iter().cloned()).collect();
        let lead = self.lead.get_or_insert_default();
        lead.counts.retain(|topic, _| topics.contains(topic));
        lead.planned = None;
        if lead.topics != topics {
            lead.topics.clone_from(&topics);
            self.act(Action::Watch { topics });
        }
        let mut until = now + PLAN_LIMIT;
        if let Some(parting) = &self.parting {
            until = until.min(parting.until - SYNC_TIME);
        }
        self.state = State::Syncing(Sync::Planning { members, until });
        if joined.skip_assignment {
            // The plan in force is another life's: what it was made from is taken to be what is seen first.
            self.state = State::Syncing(Sync::Due { not_before: now, plan: Assignments::new() });
        } else {
            self.plan_if_ready(now);
        }
    }

    /// Ends the duties of a leader.
    pub(super) fn follow(&mut self) {
        if self.lead.take().is_some() {
            self.act(Action::Watch { topics: BTreeSet::new() });
        }
    }

    pub(super) fn on_topics(&mut self, counts: BTreeMap<TopicName, Option<i32>>, now: Instant) {
        let Some(lead) = &mut self.lead else { return };
        lead.counts.extend(counts.into_iter().filter(|(topic, _)| lead.topics.contains(topic)));
        match self.state {
            State::Syncing(Sync::Planning { .. }) => self.plan_if_ready(now),
            State::Stable => self.rejoin_if_topics_changed(now),
            _ => {}
        }
    }

    fn plan_if_ready(&mut self, now: Instant) {
        if self.lead.as_ref().is_some_and(|lead| lead.topics.iter().all(|t| lead.counts.contains_key(t))) {
            self.plan(now);
        }
    }

    /// Computes everybody's partitions from what is known.
    pub(super) fn plan(&mut self, now: Instant) {
        let State::Syncing(Sync::Planning { members, .. }) = &self.state else { return };
        let counts = self.lead.as_ref().map(Lead::existing).unwrap_or_default();
        let plan = self.assignor.unwrap_or(Assignor::Range).assign(members, &counts);
        if let Some(lead) = &mut self.lead {
            lead.planned = Some(counts);
        }
        self.state = State::Syncing(Sync::Due { not_before: now, plan });
    }

    pub(super) fn send_sync(&mut self, now: Instant) {
        let (Some(generation), Some(assignor)) = (self.generation(), self.assignor) else { return };
        let token = self.token();
        let sent = State::Syncing(Sync::Sent { token, at: now });
        if let State::Syncing(Sync::Due { plan: assignments, .. }) = std::mem::replace(&mut self.state, sent) {
            self.act(Action::Sync { token, generation, protocol: assignor.name(), assignments });
        }
    }

    pub(super) fn on_synced(&mut self, token: Token, result: Result<Vec<TopicPartition>, Failure>, now: Instant) {
        let at = match self.state {
            State::Syncing(Sync::Sent { token: asked, at }) if asked == token => at,
            _ => return,
        };
        let assigned = match result {
            Ok(assigned) => assigned,
            Err(failure) => return self.on_join_failure("SyncGroup", &failure, now),
        };
        self.session_lives(at);
        self.settled_at = Some(at);
        self.backoff.reset();
        self.state = State::Stable;
        if let Some(parting) = self.parting.take() {
            return self.go_on_parting(parting, now);
        }
        let (ours, foreign): (BTreeSet<_>, BTreeSet<_>) =
            assigned.into_iter().partition(|tp| self.config.topics.contains(&tp.topic));
        if let Some(first) = foreign.first() {
            let text = format!(
                "the leader of group {} assigned {first}, to which this member is not subscribed: it is left alone; \
                 check that all members subscribe to the same topics",
                self.config.group_id
            );
            self.act(Action::Warning(Error::new(ErrorKind::Protocol, text)));
        }
        if let Some(generation) = self.generation() {
            self.last_assigned = Claim { owned: ours.clone(), generation: generation.id };
            let partitions = ours.difference(&self.owned).cloned().collect();
            self.act(Action::Assigned { partitions, generation });
        }
        let given_up: BTreeSet<_> = self.owned.difference(&ours).cloned().collect();
        self.owned.extend(ours);
        if !given_up.is_empty() {
            // Its next owner gets it in the rebalance that follows (KIP-429).
            self.reason = "partitions were revoked for other members";
            return self.revoke(given_up, AfterRevoke::Rejoin, now);
        }
        self.rejoin_if_topics_changed(now);
    }

    /// A leader's assignment must cover the partitions that exist.
    fn rejoin_if_topics_changed(&mut self, now: Instant) {
        let Some(lead) = &mut self.lead else { return };
        let existing = lead.existing();
        match &lead.planned {
            Some(planned) if *planned == existing => {}
            Some(_) => {
                self.reason = "partitions of the group's topics changed";
                self.rebalance(now);
            }
            None if lead.topics.iter().all(|t| lead.counts.contains_key(t)) => lead.planned = Some(existing),
            None => {}
        }
    }
}

impl Lead {
    fn existing(&self) -> BTreeMap<TopicName, i32> {
        self.counts.iter().filter_map(|(topic, count)| Some((topic.clone(), (*count)?))).collect()
    }
}
