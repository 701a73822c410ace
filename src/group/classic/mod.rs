//! Membership in one classic group, without I/O: the driver feeds [`Event`]s and performs [`Action`]s.
//! `machine` holds the states and the clockwork, `join` the way into a generation, `session` what keeps it, `part` the
//! ways out of it, `judge` what each error means.

mod join;
mod judge;
mod machine;
mod part;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::assignor::{Assignments, Claim, Subscription};
use super::types::Generation;
use crate::client::types::{TopicName, TopicPartition};
use crate::error::Error;
use crate::wire::ErrorCode;

pub(crate) use machine::Machine;

/// Names one request, so that an answer that comes too late is known as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(super) u64);

/// Why a request failed.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The coordinator refused it.
    Code(ErrorCode),
    /// It was not answered: connection lost, time-out, no common version.
    Call(Error),
}

/// A successful JoinGroup.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    pub(crate) member_id: Arc<str>,
    pub(crate) generation: i32,
    pub(crate) protocol: String,
    /// All members, if this one is to lead.
    pub(crate) members: Option<Vec<Subscription>>,
    /// A static leader came back: the coordinator keeps the assignment there is (KIP-814).
    pub(crate) skip_assignment: bool,
}

/// What the machine is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// Answer to [`Action::FindCoordinator`].
    Coordinator {
        token: Token,
        result: Result<(), Error>,
    },
    /// A commit found the coordinator gone; `known` is the finding it relied on.
    CoordinatorLost {
        known: Token,
    },
    Joined {
        token: Token,
        result: Result<Joined, (Failure, Option<Arc<str>>)>,
    },
    Synced {
        token: Token,
        result: Result<Vec<TopicPartition>, Failure>,
    },
    Heartbeat {
        token: Token,
        result: Result<(), Failure>,
    },
    Left {
        token: Token,
        result: Result<(), Failure>,
    },
    /// The worker answered [`Action::Revoke`].
    Revoked {
        token: Token,
    },
    /// A commit under this generation was refused with an error about the membership.
    CommitRefused {
        generation: i32,
        code: ErrorCode,
    },
    /// Partitions of watched topics: `None` does not exist; not in the map: not looked up yet.
    Topics(BTreeMap<TopicName, Option<i32>>),
    /// Drain, then leave.
    Stop,
    /// Nobody is interested any more: leave without draining.
    Abandon,
}

/// What the driver must do.
#[derive(Debug)]
pub(crate) enum Action {
    FindCoordinator {
        token: Token,
    },
    Join {
        token: Token,
        member_id: Arc<str>,
        claim: Claim,
        reason: &'static str,
    },
    Sync {
        token: Token,
        generation: Generation,
        protocol: &'static str,
        assignments: Assignments,
    },
    Heartbeat {
        token: Token,
        generation: Generation,
    },
    Leave {
        token: Token,
        member_id: Arc<str>,
        reason: &'static str,
    },
    /// Report [`Event::Topics`] for these now and whenever their partition counts change; replaces the earlier set.
    Watch {
        topics: BTreeSet<TopicName>,
    },
    /// These are ours now, besides what is owned already.
    Assigned {
        partitions: Vec<TopicPartition>,
        generation: Generation,
    },
    /// Drain these; what else is owned goes on.
    Revoke {
        token: Token,
        partitions: Vec<TopicPartition>,
        deadline: Instant,
    },
    Lost {
        partitions: Vec<TopicPartition>,
    },
    Warning(Error),
    Failed(Error),
    /// The last action.
    Ended,
}
