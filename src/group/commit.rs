//! OffsetCommit without I/O: one in flight, later ones coalesce, each caller gets the outcome of each partition.
//! The driver feeds answers and asks for the next request; the generation is bound when that is handed out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::classic::{Failure, Token};
use super::types::{CommitOffset, Generation};
use crate::client::retry::{Backoff, BackoffConfig};
use crate::client::types::TopicPartition;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;

/// Outcome of one caller's commit.
pub(crate) type Outcome = super::handle::CommitResult;

/// Callers waiting at once, above which the driver takes no further ones for a while.
const MAX_TICKETS: usize = 256;
const BACKOFF: BackoffConfig = BackoffConfig { first: Duration::from_millis(50), max: Duration::from_secs(1) };

/// The queue of commits of one group.
pub(crate) struct Commits {
    /// From a caller's request to its answer, retries included.
    limit: Duration,
    /// What a rebalance refuses is sent again in the next generation, for what is owned is kept.
    cooperative: bool,
    /// The generation in which nothing more is taken.
    over: Option<i32>,
    queued: BTreeMap<TopicPartition, CommitOffset>,
    /// Callers whose offsets are in `queued` (or were overtaken there by later ones).
    waiting: Vec<Ticket>,
    sent: Option<Sent>,
    not_before: Option<Instant>,
    backoff: Backoff,
    rng: fastrand::Rng,
    done: VecDeque<(u64, Outcome)>,
    ids: u64,
}

/// One caller.
struct Ticket {
    id: u64,
    deadline: Instant,
    open: BTreeSet<TopicPartition>,
    results: Vec<(TopicPartition, ErrorCode)>,
}

struct Sent {
    id: u64,
    generation: i32,
    coordinator: Token,
    offsets: BTreeMap<TopicPartition, CommitOffset>,
    tickets: Vec<Ticket>,
}

/// One OffsetCommit to send.
#[derive(Debug, Clone)]
pub(crate) struct CommitRequest {
    pub(crate) id: u64,
    pub(crate) generation: Generation,
    pub(crate) offsets: BTreeMap<TopicPartition, CommitOffset>,
}

/// What an answer told about the membership, for the machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tidings {
    pub(crate) coordinator_lost: Option<Token>,
    /// Generation and error.
    pub(crate) refused: Option<(i32, ErrorCode)>,
}

impl Commits {
    pub(crate) fn new(limit: Duration, cooperative: bool, seed: u64) -> Self {
        Self {
            limit,
            cooperative,
            over: None,
            queued: BTreeMap::new(),
            waiting: Vec::new(),
            sent: None,
            not_before: None,
            backoff: Backoff::new(BACKOFF),
            rng: fastrand::Rng::with_seed(seed),
            done: VecDeque::new(),
            ids: 0,
        }
    }

    /// Takes a caller's offsets; the ticket comes back from [`poll_done`](Self::poll_done). Partitions that are not
    /// owned are refused with ILLEGAL_GENERATION: they may be another member's.
    pub(crate) fn submit(
        &mut self,
        offsets: Vec<(TopicPartition, CommitOffset)>,
        owns: impl Fn(&TopicPartition) -> bool,
        now: Instant,
    ) -> u64 {
        self.ids += 1;
        let mut ticket =
            Ticket { id: self.ids, deadline: now + self.limit, open: BTreeSet::new(), results: Vec::new() };
        for (partition, offset) in offsets {
            if owns(&partition) {
                ticket.open.insert(partition.clone());
                self.queued.insert(partition, offset);
            } else {
                ticket.results.push((partition, ErrorCode::ILLEGAL_GENERATION));
            }
        }
        self.waiting.push(ticket);
        self.settle();
        self.ids
    }

    /// Whether no further caller should be taken for now.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_TICKETS
    }

    /// The next request, if one is due. It must be answered by [`answered`](Self::answered).
    pub(crate) fn poll_send(
        &mut self,
        generation: Option<Generation>,
        coordinator: Option<Token>,
        now: Instant,
    ) -> Option<CommitRequest> {
        // Of another life of the group, whose numbers begin anew, nothing was refused.
        self.over.take_if(|over| generation.as_ref().is_none_or(|generation| generation.id != *over));
        let (generation, coordinator) = (generation?, coordinator?);
        if self.sent.is_some() || self.queued.is_empty() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        if self.over.is_some_and(|over| over == generation.id) {
            return None;
        }
        self.ids += 1;
        let offsets = std::mem::take(&mut self.queued);
        let tickets = std::mem::take(&mut self.waiting);
        let sent = Sent { id: self.ids, generation: generation.id, coordinator, offsets: offsets.clone(), tickets };
        let id = self.sent.insert(sent).id;
        Some(CommitRequest { id, generation, offsets })
    }

    /// Takes the answer to request `id`: a code for each partition, or why there is none.
    pub(crate) fn answered(
        &mut self,
        id: u64,
        answer: Result<BTreeMap<TopicPartition, ErrorCode>, Failure>,
        now: Instant,
    ) -> Tidings {
        let Some(mut sent) = self.sent.take_if(|sent| sent.id == id) else { return Tidings::default() };
        let mut tidings = Tidings::default();
        let codes = match answer {
            Ok(codes) => codes,
            Err(Failure::Call(error)) if !error.is_retriable() && error.kind() != ErrorKind::Protocol => {
                self.done.extend(sent.tickets.into_iter().map(|t| (t.id, Err(error.clone()))));
                return tidings;
            }
            Err(Failure::Call(_)) => all(&sent, ErrorCode::NOT_COORDINATOR),
            Err(Failure::Code(code)) => all(&sent, code),
        };
        let mut again = false;
        for (partition, offset) in std::mem::take(&mut sent.offsets) {
            let code = codes.get(&partition).copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
            match code {
                ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => again = true,
                ErrorCode::NOT_COORDINATOR
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::NETWORK_EXCEPTION
                | ErrorCode::REQUEST_TIMED_OUT => {
                    again = true;
                    tidings.coordinator_lost = Some(sent.coordinator);
                }
                code => {
                    if is_about_membership(code) {
                        tidings.refused = Some((sent.generation, code));
                    }
                    if self.cooperative && is_about_generation(code) {
                        self.over = Some(sent.generation);
                        self.queued.entry(partition).or_insert(offset);
                        continue;
                    }
                    sent.tickets.iter_mut().for_each(|ticket| ticket.close(&partition, code));
                    continue;
                }
            }
            // A later commit of the same partition goes instead, for the earlier callers too.
            self.queued.entry(partition).or_insert(offset);
        }
        self.not_before = again.then(|| now + self.backoff.next(&mut self.rng));
        if !again {
            self.backoff.reset();
        }
        sent.tickets.append(&mut self.waiting);
        self.waiting = sent.tickets;
        self.settle();
        tidings
    }

    /// Gives up all that is queued or in flight for partitions that are not owned any more: a queued offset must not
    /// be sent under a later generation, when the partition may have had another owner in between.
    pub(crate) fn void_unowned(&mut self, owns: impl Fn(&TopicPartition) -> bool) {
        self.queued.retain(|partition, _| owns(partition));
        if let Some(Sent { offsets, tickets, .. }) = self.sent.take_if(|sent| !sent.offsets.keys().all(&owns)) {
            for (partition, offset) in offsets.into_iter().filter(|(partition, _)| owns(partition)) {
                self.queued.entry(partition).or_insert(offset);
            }
            self.waiting.splice(..0, tickets);
        }
        for ticket in &mut self.waiting {
            let gone: Vec<_> = ticket.open.iter().filter(|tp| !owns(tp)).cloned().collect();
            gone.iter().for_each(|partition| ticket.close(partition, ErrorCode::ILLEGAL_GENERATION));
        }
        self.settle();
    }

    /// Answers callers whose time is up.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // What still waits then waits for the coordinator or a generation, whose coming is an event: no timer may stand
        // in the past meanwhile.
        self.not_before.take_if(|at| now >= *at);
        let sent = self.sent.iter_mut().map(|sent| &mut sent.tickets);
        for tickets in sent.chain([&mut self.waiting]) {
            for ticket in tickets.extract_if(.., |ticket| now >= ticket.deadline) {
                let text = "OffsetCommit was not answered in time, the offsets may or may not be committed: \
                            check that the group's coordinator is reachable";
                self.done.push_back((ticket.id, Err(Error::new(ErrorKind::Timeout, text))));
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and [`poll_send`](Self::poll_send) again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let sent = self.sent.iter().flat_map(|sent| &sent.tickets);
        let deadline = sent.chain(&self.waiting).map(|ticket| ticket.deadline).min();
        let retry = self.not_before.filter(|_| self.sent.is_none() && !self.queued.is_empty());
        [deadline, retry].into_iter().flatten().min()
    }

    /// Drains the outcomes that are known by now.
    pub(crate) fn poll_done(&mut self) -> Option<(u64, Outcome)> {
        self.done.pop_front()
    }

    fn settle(&mut self) {
        for ticket in self.waiting.extract_if(.., |ticket| ticket.open.is_empty()) {
            self.done.push_back((ticket.id, Ok(ticket.results)));
        }
    }
}

impl Ticket {
    fn close(&mut self, partition: &TopicPartition, code: ErrorCode) {
        if let Some(partition) = self.open.take(partition) {
            self.results.push((partition, code));
        }
    }
}

fn all(sent: &Sent, code: ErrorCode) -> BTreeMap<TopicPartition, ErrorCode> {
    sent.offsets.keys().map(|partition| (partition.clone(), code)).collect()
}

fn is_about_generation(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION)
}

fn is_about_membership(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::FENCED_INSTANCE_ID
            | ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::INVALID_GROUP_ID
    )
}

#[cfg(test)]
mod tests;
