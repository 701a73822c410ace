//! The states of a membership and its clockwork: which request is due when, and what silence means.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Action, Event, Failure, Token};
use crate::client::retry::{Backoff, BackoffConfig};
use crate::client::types::{TopicName, TopicPartition};
use crate::group::assignor::{Assignments, Assignor, Claim, Subscription};
use crate::group::types::{Generation, GroupConfig};

/// Time past a revocation's deadline for the worker's last commit.
pub(super) const LAST_COMMIT: Duration = Duration::from_secs(5);
/// Limit of leaving, from the moment when nothing is owned any more.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// How long a leader waits for metadata before it assigns what it knows.
pub(super) const PLAN_LIMIT: Duration = Duration::from_secs(5);
/// What a leader that is about to go keeps for SyncGroup.
pub(super) const SYNC_TIME: Duration = Duration::from_secs(1);

const BACKOFF: BackoffConfig = BackoffConfig { first: Duration::from_millis(50), max: Duration::from_secs(2) };

/// Membership in one classic group. Owns no I/O and no clock.
pub(crate) struct Machine {
    pub(super) config: GroupConfig,
    pub(super) state: State,
    /// The revocation of a stop that came on the way into a generation (Joining, Syncing), which is gone to its end
    /// meanwhile: between JoinGroup's answer and SyncGroup's the coordinator takes no commit of anybody, and a leader
    /// that falls silent there makes all wait for it. Of no partitions once nothing is owned any more.
    pub(super) parting: Option<Revocation>,
    pub(super) coordinator: Coordinator,
    /// Empty until the coordinator has given one.
    pub(super) member_id: Arc<str>,
    /// Set from JoinGroup's answer until the generation is left: with eager assignors before the next JoinGroup, with
    /// cooperative ones by its answer.
    pub(super) generation: Option<i32>,
    /// The assignor that the group chose for it.
    pub(super) assignor: Option<Assignor>,
    pub(super) owned: BTreeSet<TopicPartition>,
    /// The last assignment and its generation, for assignors that remember (`sticky`).
    pub(super) last_assigned: Claim,
    /// Set while this member leads.
    pub(super) lead: Option<Lead>,
    /// Why the next JoinGroup is sent (KIP-800).
    pub(super) reason: &'static str,
    pub(super) heartbeat: Heartbeat,
    /// When the last request that the coordinator answered in this generation was *sent*: its own session clock
    /// started no earlier, so ours never outlives it.
    pub(super) session_from: Option<Instant>,
    /// A moment at which the coordinator waited for nothing of this member. It expels a member that lets it wait for
    /// JoinGroup or SyncGroup longer than the rebalance time-out, be its session alive or not.
    pub(super) settled_at: Option<Instant>,
    /// After failures of JoinGroup, SyncGroup and LeaveGroup.
    pub(super) backoff: Backoff,
    pub(super) coordinator_backoff: Backoff,
    /// Since the coordinator was last found.
    pub(super) failed_searches: u32,
    actions: VecDeque<Action>,
    tokens: u64,
    pub(super) rng: fastrand::Rng,
}

#[derive(Debug)]
pub(super) enum State {
    /// Joins when the coordinator is known. Nothing is owned, or under cooperative assignors what is kept. From: start,
    /// Joining, Syncing, Stable and Revoking.
    Unjoined { not_before: Instant },
    /// JoinGroup sent; owned as before, but for what `parting` takes. From: Unjoined, Joining (the coordinator gave a
    /// member id).
    Joining { token: Token },
    /// In a generation, the assignment is not known yet; owned as in Joining. From: Joining.
    Syncing(Sync),
    /// Assignment in force. From: Syncing.
    Stable,
    /// The worker drains some or all of what is owned. From: Stable; before leaving, from any state in which something
    /// is owned, from Joining and Syncing by way of `parting`.
    Revoking(Revocation),
    /// Nothing owned, LeaveGroup due or sent. From: any but the final ones.
    Leaving { until: Instant, wait: LeaveWait },
    /// Left. From: Leaving; of static members, which send no LeaveGroup, any but the final ones. Final.
    Left,
    /// A fatal error was reported. From: any but Left. Final.
    Failed,
}

/// How far a rebalance is between JoinGroup and the assignment.
#[derive(Debug)]
pub(super) enum Sync {
    /// This member leads and waits until `until` for the partition counts of the group's topics.
    Planning { members: Vec<Subscription>, until: Instant },
    /// SyncGroup is to be sent at or after `not_before`.
    Due { not_before: Instant, plan: Assignments },
    /// SyncGroup sent.
    Sent { token: Token, at: Instant },
}

/// What the worker is asked to give back.
#[derive(Debug)]
pub(super) struct Revocation {
    pub(super) token: Token,
    pub(super) partitions: BTreeSet<TopicPartition>,
    /// When it is lost instead.
    pub(super) until: Instant,
    pub(super) then: AfterRevoke,
}

impl Revocation {
    /// Whether nothing is waited for but the end of the way into a generation, see [`Machine::parting`].
    pub(super) fn is_over(&self) -> bool {
        self.partitions.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterRevoke {
    Rejoin,
    Leave,
}

/// What LeaveGroup waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaveWait {
    /// The first JoinGroup's answer: it names the member that is to leave.
    MemberId(Token),
    /// The coordinator, or its patience.
    Turn(Instant),
    Answer(Token),
}

#[derive(Debug)]
pub(super) enum Coordinator {
    Unknown {
        retry_at: Option<Instant>,
    },
    Finding(Token),
    /// Known since the answer to this token.
    Known(Token),
}

#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    pub(super) in_flight: Option<(Token, Instant)>,
    pub(super) next: Option<Instant>,
}

/// What a leader has to watch over.
#[derive(Debug, Default)]
pub(super) struct Lead {
    /// All topics that any member is subscribed to.
    pub(super) topics: BTreeSet<TopicName>,
    /// Their partition counts as far as looked up.
    pub(super) counts: BTreeMap<TopicName, Option<i32>>,
    /// What the present assignment was computed from.
    pub(super) planned: Option<BTreeMap<TopicName, i32>>,
}

impl Machine {
    /// A member that wants to join. Call [`poll_action`](Self::poll_action) at once.
    pub(crate) fn new(config: GroupConfig, seed: u64, now: Instant) -> Self {
        let mut machine = Self {
            config,
            state: State::Unjoined { not_before: now },
            parting: None,
            coordinator: Coordinator::Unknown { retry_at: None },
            member_id: "".into(),
            generation: None,
            assignor: None,
            owned: BTreeSet::new(),
            last_assigned: Claim::default(),
            lead: None,
            reason: "joining for the first time",
            heartbeat: Heartbeat::default(),
            session_from: None,
            settled_at: None,
            backoff: Backoff::new(BACKOFF),
            coordinator_backoff: Backoff::new(BACKOFF),
            failed_searches: 0,
            actions: VecDeque::new(),
            tokens: 0,
            rng: fastrand::Rng::with_seed(seed),
        };
        if let Err(error) = machine.config.validate() {
            machine.fail(error);
        }
        machine.advance(now);
        machine
    }

    /// Takes in one event, and the time.
    pub(crate) fn handle(&mut self, event: Event, now: Instant) {
        if self.is_final() {
            return;
        }
        match event {
            Event::Coordinator { token, result } => self.on_coordinator(token, result, now),
            Event::CoordinatorLost { known } => {
                if matches!(self.coordinator, Coordinator::Known(since) if since == known) {
                    self.lose_coordinator(now);
                }
            }
            Event::Joined { token, result } => self.on_joined(token, result, now),
            Event::Synced { token, result } => self.on_synced(token, result, now),
            Event::Heartbeat { token, result } => self.on_heartbeat(token, result, now),
            Event::Left { token, result } => self.on_left(token, result, now),
            Event::Revoked { token } => self.on_revoked(token, now),
            Event::CommitRefused { generation, code } => {
                if self.generation == Some(generation) {
                    self.on_member_failure("OffsetCommit", &Failure::Code(code), now);
                }
            }
            Event::Topics(counts) => self.on_topics(counts, now),
            Event::Stop => self.stop(now),
            Event::Abandon => self.abandon(now),
        }
        self.advance(now);
    }

    /// Takes in that time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// The next thing to do. Empty this after every call of a `handle` function.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_final() {
            return None;
        }
        let coordinator = match self.coordinator {
            Coordinator::Unknown { retry_at } => retry_at,
            _ => None,
        };
        let known = matches!(self.coordinator, Coordinator::Known(_));
        let state = match &self.state {
            State::Unjoined { not_before } => known.then_some(*not_before),
            State::Syncing(Sync::Planning { until, .. }) => Some(*until),
            State::Syncing(Sync::Due { not_before, .. }) => known.then_some(*not_before),
            State::Revoking(revocation) => Some(revocation.until),
            State::Leaving { until, wait: LeaveWait::Turn(at) } if known => Some(*until.min(at)),
            State::Leaving { until, .. } => Some(*until),
            _ => None,
        };
        let heartbeat = (known && self.in_generation() && self.heartbeat.in_flight.is_none())
            .then_some(self.heartbeat.next)
            .flatten();
        let parting = self.parting.as_ref().map(|parting| parting.until);
        [coordinator, state, parting, heartbeat, self.membership_end()].into_iter().flatten().min()
    }

    /// The generation that a commit sent now belongs to; `None` while nothing may be committed.
    pub(crate) fn commit_generation(&self) -> Option<Generation> {
        // While a rebalance is prepared the coordinator takes commits of the generation that ends with it. SyncGroup's
        // answer is waited for, because between the two it takes none.
        if matches!(self.state, State::Syncing(_)) { None } else { self.generation() }
    }

    /// The finding of the coordinator that requests now rely on.
    pub(crate) fn coordinator_known(&self) -> Option<Token> {
        match self.coordinator {
            Coordinator::Known(token) => Some(token),
            _ => None,
        }
    }

    /// Whether the JoinGroup of this token is still to be sent, if it was not.
    pub(crate) fn wants_join(&self, token: Token) -> bool {
        matches!(self.state, State::Joining { token: asked } if asked == token)
    }

    /// Whether this member owns the partition in the present generation.
    pub(crate) fn owns(&self, partition: &TopicPartition) -> bool {
        self.owned.contains(partition)
    }

    /// Does all that is due at `now`.
    fn advance(&mut self, now: Instant) {
        if !self.is_final() {
            self.expire(now);
        }
        if self.is_final() {
            return;
        }
        match self.coordinator {
            Coordinator::Unknown { retry_at } if retry_at.is_none_or(|at| now >= at) => {
                let token = self.token();
                self.coordinator = Coordinator::Finding(token);
                self.act(Action::FindCoordinator { token });
            }
            Coordinator::Known(_) => self.send_due(now),
            _ => {}
        }
    }

    /// What has lasted too long.
    fn expire(&mut self, now: Instant) {
        if self.membership_end().is_some_and(|end| now >= end) {
            self.reason = "the session expired";
            self.lose_membership(now, true);
        }
        if let Some(parting) = self.parting.take_if(|parting| now >= parting.until) {
            self.lose(parting.partitions);
            self.begin_leaving(now);
        }
        match &self.state {
            State::Revoking(Revocation { partitions, until, then, .. }) if now >= *until => {
                let (partitions, then) = (partitions.clone(), *then);
                self.lose(partitions);
                self.after_revoke(then, now);
            }
            State::Syncing(Sync::Planning { until, .. }) if now >= *until => self.plan(now),
            State::Leaving { until, .. } if now >= *until => self.end(),
            _ => {}
        }
    }

    /// Sends what is due, the coordinator being known.
    fn send_due(&mut self, now: Instant) {
        match &mut self.state {
            State::Unjoined { not_before } if now >= *not_before => self.send_join(),
            State::Syncing(Sync::Due { not_before, .. }) if now >= *not_before => self.send_sync(now),
            State::Leaving { wait: LeaveWait::Turn(at), .. } if now >= *at => self.send_leave(),
            _ => {}
        }
        let due = self.heartbeat.next.is_some_and(|at| now >= at) && self.heartbeat.in_flight.is_none();
        if let (true, true, Some(generation)) = (due, self.in_generation(), self.generation()) {
            let token = self.token();
            self.heartbeat =
                Heartbeat { in_flight: Some((token, now)), next: Some(now + self.config.heartbeat_interval) };
            self.act(Action::Heartbeat { token, generation });
        }
    }

    /// Whether there is a session to be kept.
    pub(super) fn in_generation(&self) -> bool {
        self.generation.is_some()
    }

    pub(super) fn generation(&self) -> Option<Generation> {
        self.generation.map(|id| Generation { id, member_id: self.member_id.clone() })
    }

    pub(super) fn is_final(&self) -> bool {
        matches!(self.state, State::Left | State::Failed)
    }

    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.next(&mut self.rng)
    }

    pub(super) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }
}
