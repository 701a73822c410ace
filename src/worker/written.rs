//! Records whose aftercare has written all that it has to, and waits for acknowledgements only. Those that lie in one batch
//! of the producer end together, so one future waits for all of them; a lane owns this and keeps that future.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aftercare::Ending;
use super::record::{Assignment, Block, Record};
use super::scheduler::Done;
use crate::client::producer::{Completion, Delivery};

/// A record that waits.
pub(super) struct Written<B> {
    pub(super) delivery: Delivery,
    pub(super) record: Record<B>,
    pub(super) ending: Ending,
    pub(super) done: Done,
}

/// The wait for a batch has a limit, which begins with the first record: later ones have one of their own, so that none gets
/// much less. It ends sooner once the assignment is over.
const TOGETHER: Duration = Duration::from_secs(1);

/// Of one assignment and in one batch.
struct Batch<B> {
    number: u64,
    since: Instant,
    /// The assignment was over already.
    over: bool,
    of: Arc<Completion>,
    assignment: Arc<Assignment>,
    records: Vec<Written<B>>,
}

/// See the file's head.
pub(super) struct Batches<B> {
    batches: Vec<Batch<B>>,
    records: usize,
    next: u64,
}

impl<B> Default for Batches<B> {
    fn default() -> Self {
        Self { batches: Vec::new(), records: 0, next: 0 }
    }
}

impl<B: Block> Batches<B> {
    /// Records in all batches.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Takes a record in; the number of its batch if nobody waits for that yet, and the delivery to wait by.
    pub(super) fn add(&mut self, written: Written<B>, now: Instant) -> Option<(u64, &Delivery)> {
        self.records += 1;
        let (of, assignment) = (written.delivery.batch(), &written.record.origin().assignment);
        let over = assignment.cancel.is_raised();
        let is_its = |b: &Batch<B>| Arc::ptr_eq(&b.of, of) && Arc::ptr_eq(&b.assignment, assignment);
        let is_its = |b: &Batch<B>| is_its(b) && b.over == over && now.saturating_duration_since(b.since) < TOGETHER;
        if let Some(at) = self.batches.iter().rposition(is_its) {
            self.batches[at].records.push(written);
            return None;
        }
        let (number, of, assignment) = (self.next, of.clone(), assignment.clone());
        self.next += 1;
        self.batches.push(Batch { number, since: now, over, of, assignment, records: vec![written] });
        let first = self.batches.last().and_then(|batch| batch.records.first())?;
        Some((number, &first.delivery))
    }

    /// Gives up a batch; its records.
    pub(super) fn take(&mut self, number: u64) -> Vec<Written<B>> {
        let Some(at) = self.batches.iter().position(|batch| batch.number == number) else { return Vec::new() };
        let records = self.batches.remove(at).records;
        self.records -= records.len();
        records
    }
}
