//! One assignment of one partition inside the scheduler: its queue of fetched blocks, its tracker, and under order by
//! key the records that wait for their turn.

use std::collections::VecDeque;
use std::sync::Arc;

use super::config::Order;
use super::keys::{Keys, key_hash};
use super::record::{Assignment, Block, Origin};
use super::scheduler::{Done, End, Item, PartId, Rules, Run, Work};
use super::tracker::{Inherited, Offsets, Progress, Tracker};
use crate::wire::records::{Cursor, RecordsError};

/// A block whose offsets are known; made outside the scheduler's lock.
#[derive(Debug)]
pub(crate) struct Prepared<B> {
    block: Arc<B>,
    first_offset: i64,
    offsets: Offsets,
}

impl<B: Block> Prepared<B> {
    /// Reads the first record, and all offsets if the block has gaps.
    pub(crate) fn new(block: Arc<B>) -> Result<Option<Self>, RecordsError> {
        let (batch, mut at) = (block.batch(), block.start());
        let Some(first) = batch.next(&mut at)? else { return Ok(None) };
        let first_offset = first.offset;
        let dense = first_offset + i64::from(block.count()) == batch.header().next_offset();
        let offsets = if dense {
            Offsets::Dense(first_offset)
        } else {
            let mut all = Vec::with_capacity(block.count() as usize);
            all.push(first_offset);
            while let Some(record) = batch.next(&mut at)? {
                all.push(record.offset);
            }
            if all.len() != block.count() as usize || !all.is_sorted() {
                return Err(RecordsError::Malformed { field: "offset_delta" });
            }
            Offsets::Sparse(all.into())
        };
        Ok(Some(Self { block, first_offset, offsets }))
    }
}

/// A block with records not handed out.
#[derive(Debug)]
struct Queued<B> {
    origin: Arc<Origin<B>>,
    seq: u64,
    count: u32,
    /// Records handed out, in runs.
    out: u32,
    /// Before one of them, or behind the last: whoever ran them says how far they reach, and only where that is not known
    /// in time it is looked for. Under order by key: behind the last that was parsed.
    at: Cursor,
    /// The cursor's index of the block's first record.
    from: u32,
    /// Some records were finished by an earlier owner.
    patchy: bool,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Part<B> {
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) tracker: Tracker,
    /// Handed out and not back.
    pub(crate) in_flight: u32,
    /// Those of them whose handlers have ended; nobody waits for them any more.
    pub(crate) tended: u32,
    /// In the scheduler's list of partitions to look at.
    pub(crate) listed: bool,
    queue: VecDeque<Queued<B>>,
    /// Handed out, not started, brought back: before the queue.
    returned: VecDeque<Run<B>>,
    keys: Keys<Item<B>>,
    queued: u64,
    inherited: Inherited,
    until: Option<i64>,
    /// Whoever watches is told once when all below this has ended.
    goal: Option<i64>,
    /// A record could not be read.
    broken: bool,
    /// What time it is, in ms since 1970, where records are delayed.
    now_ms: i64,
    /// The front record (its block and index) and when it is due, once somebody looked.
    front_due: Option<(u64, u32, i64)>,
    /// It is not, since [`take_news`](Self::take_news).
    news: bool,
}

impl<B: Block> Part<B> {
    pub(crate) fn new(
        assignment: Arc<Assignment>,
        offset: i64,
        leader_epoch: i32,
        inherited: Inherited,
        until: Option<i64>,
    ) -> Self {
        Self {
            assignment,
            tracker: Tracker::new(offset, leader_epoch),
            in_flight: 0,
            tended: 0,
            listed: false,
            queue: VecDeque::new(),
            returned: VecDeque::new(),
            keys: Keys::default(),
            queued: 0,
            inherited,
            until,
            goal: None,
            broken: false,
            now_ms: 0,
            front_due: None,
            news: false,
        }
    }

    /// Records not handed out.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    pub(crate) fn push(&mut self, blocks: Vec<Prepared<B>>, next_offset: i64) {
        let until = self.until.unwrap_or(i64::MAX);
        // What lies behind `until` is not handed out, so nothing may move the watermark over it.
        if self.tracker.end() >= until {
            return;
        }
        for Prepared { block, first_offset, offsets } in blocks {
            if first_offset >= until {
                self.tracker.advance(until);
                return;
            }
            let (count, header) = (block.count(), block.batch().header());
            let (next, epoch) = (header.next_offset(), header.partition_leader_epoch);
            let (seq, mut done) = self.tracker.push(count, offsets, next, epoch, &self.inherited.runs);
            if mutant!(SkipBatchTail) && count > 1 && done == 0 {
                self.tracker.finish(seq, count - 1, 1);
                done = 1;
            }
            if done == count {
                continue;
            }
            let at = block.start();
            self.queued += u64::from(count - done);
            let origin = Arc::new(Origin { block, assignment: self.assignment.clone() });
            self.queue.push_back(Queued { origin, seq, count, out: 0, at, from: at.index, patchy: done > 0 });
        }
        self.tracker.advance(next_offset);
        if self.inherited.runs.last().is_some_and(|r| r.1 <= next_offset) {
            self.inherited = Inherited::default();
        }
    }

    /// What a commit says now.
    pub(crate) fn progress(&self, max_runs: usize) -> Progress {
        let max_runs = if mutant!(ForgetFinished) { 0 } else { max_runs };
        let mut progress = self.tracker.progress(max_runs);
        self.inherited.add_to(&mut progress, self.tracker.end(), max_runs);
        progress
    }

    /// What has been pushed is all.
    pub(crate) fn end_here(&mut self) {
        self.until = Some(self.tracker.end());
    }

    pub(crate) fn is_available(&self, rules: Rules) -> bool {
        if self.assignment.is_closed() || self.broken || self.room(rules) == 0 {
            return false;
        }
        match rules.order {
            Order::None => self.has_runs(),
            Order::Partition => self.has_runs() && self.in_flight == self.tended,
            Order::Key => {
                self.keys.has_next() || (!self.queue.is_empty() && self.keys.has_room() && self.due().is_none())
            }
        }
    }

    fn has_runs(&self) -> bool {
        self.queued > 0 && (self.due().is_none() || !self.returned.is_empty())
    }

    pub(crate) fn set_now(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
    }

    /// When the front record is due, if that is known and not over.
    pub(crate) fn due(&self) -> Option<i64> {
        self.front_due.map(|(_, _, due)| due).filter(|due| *due > self.now_ms && !self.assignment.is_closed())
    }

    /// Whether a record was found that is not due, since the last question.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Whether the record at `at` of the front block may be handed out now. A delay counts from the record's timestamp,
    /// but no longer than from when it was first looked at: other clocks, or liars, may have set it.
    fn is_due(&mut self, mut at: Cursor) -> bool {
        let (Some(delayed), Some(front)) = (self.assignment.delayed, self.queue.front()) else { return true };
        let (seq, index) = (front.seq, at.index);
        let due = match self.front_due {
            Some((of, place, due)) if (of, place) == (seq, index) => due,
            _ => {
                // Bytes that are no record are found out by whoever takes them.
                let Ok(Some(view)) = front.origin.block.batch().next(&mut at) else { return true };
                let by = i64::try_from(delayed.by.as_millis()).unwrap_or(i64::MAX);
                view.timestamp.min(self.now_ms).saturating_add(by)
            }
        };
        let is_due = due <= self.now_ms;
        self.news |= !is_due;
        self.front_due = (!is_due).then_some((seq, index, due));
        is_due
    }

    /// How many more may be unfinished or held.
    fn room(&self, rules: Rules) -> u32 {
        rules.max_held.saturating_sub(self.tracker.held().saturating_add(self.in_flight))
    }

    pub(crate) fn take(&mut self, id: PartId, rules: Rules, want: u32, work: &mut Work<B>) -> u32 {
        if !self.is_available(rules) {
            return 0;
        }
        let want = want.min(self.room(rules));
        let taken = match rules.order {
            Order::Key => self.take_items(id, want, work),
            Order::None | Order::Partition => self.take_runs(id, want, work),
        };
        self.in_flight += taken;
        self.queued -= u64::from(taken);
        taken
    }

    fn take_runs(&mut self, id: PartId, want: u32, work: &mut Work<B>) -> u32 {
        let mut taken = 0;
        while taken < want {
            if let Some(mut run) = self.returned.pop_front() {
                let n = run.count.min(want - taken);
                if n < run.count {
                    let mut rest = Run { origin: run.origin.clone(), ..run };
                    if self.skip(&rest.origin.clone(), &mut rest.at, n) {
                        rest.index += n;
                        rest.count -= n;
                        self.returned.push_front(rest);
                    }
                    run.count = n;
                }
                taken += n;
                work.runs.push_back(run);
                continue;
            }
            let Some(run) = self.next_run(id, want - taken) else { break };
            taken += run.count;
            work.runs.push_back(run);
        }
        taken
    }

    /// The next at most `max` records of the front block.
    fn next_run(&mut self, id: PartId, max: u32) -> Option<Run<B>> {
        let max = if self.assignment.delayed.is_some() { 1 } else { max };
        loop {
            let front = self.queue.front()?;
            let (origin, seq, of, patchy) = (front.origin.clone(), front.seq, front.count, front.patchy);
            let (mut at, from, mut index) = (front.at, front.from, front.out);
            let mut left = of - index;
            let unknown = index - (at.index - from);
            if !self.skip(&origin, &mut at, unknown) {
                return None;
            }
            if patchy {
                match self.tracker.unfinished(seq, index) {
                    Some((first, n)) => {
                        if !self.skip(&origin, &mut at, first - index) {
                            return None;
                        }
                        (index, left) = (first, n);
                    }
                    None => {
                        self.pop_front();
                        continue;
                    }
                }
            }
            if !self.is_due(at) {
                return None;
            }
            let count = left.min(max);
            let taken = index + count;
            // Nor may a block stay for the sake of records that are finished: nobody would come for them, and its bytes
            // might be what the fetcher waits for.
            if taken == of || (patchy && self.tracker.unfinished(seq, taken).is_none()) {
                self.pop_front();
            } else if let Some(front) = self.queue.front_mut() {
                (front.at, front.out) = (at, taken);
            }
            return Some(Run { part: id, origin, seq, index, count, at });
        }
    }

    /// The front block's records have been handed out.
    fn pop_front(&mut self) {
        if let Some(front) = self.queue.pop_front() {
            front.origin.block.read();
        }
    }

    /// Moves `at` over `n` records; false, and no more of this partition, if the bytes are no records.
    fn skip(&mut self, origin: &Origin<B>, at: &mut Cursor, n: u32) -> bool {
        for _ in 0..n {
            if !matches!(origin.block.batch().skip(at), Ok(true)) {
                self.broken = true;
                return false;
            }
        }
        true
    }

    fn take_items(&mut self, id: PartId, want: u32, work: &mut Work<B>) -> u32 {
        let mut taken = 0;
        while taken < want {
            if let Some(item) = self.keys.next() {
                work.items.push_back(item);
                taken += 1;
                continue;
            }
            if !self.keys.has_room() {
                break;
            }
            let Some(front) = self.queue.front_mut() else { break };
            let index = front.at.index - front.from;
            if index >= front.count {
                self.pop_front();
                continue;
            }
            let (at, finished) = (front.at, front.patchy && self.tracker.is_finished(front.seq, index));
            if !finished && !self.is_due(at) {
                break;
            }
            let Some(front) = self.queue.front_mut() else { break };
            let Ok(Some(view)) = front.origin.block.batch().next(&mut front.at) else {
                self.broken = true;
                break;
            };
            if finished {
                continue;
            }
            let key = view.key.clone().map(|range| key_hash(front.origin.block.batch().bytes_of(range)));
            let item = Item { part: id, origin: front.origin.clone(), seq: front.seq, index, view, key };
            if index + 1 == front.count {
                self.pop_front();
            }
            let admitted = match key {
                Some(key) => self.keys.admit(key, item),
                None => Some(item),
            };
            if let Some(item) = admitted {
                work.items.push_back(item);
                taken += 1;
            }
        }
        taken
    }

    pub(crate) fn put_back_run(&mut self, run: Run<B>) {
        self.queued += u64::from(run.count);
        self.returned.push_front(run);
    }

    pub(crate) fn put_back_item(&mut self, item: Item<B>) {
        self.queued += 1;
        self.keys.put_back(item);
    }

    /// The handler has ended and aftercare goes on.
    pub(crate) fn tend(&mut self, done: &Done) {
        self.tended += done.count;
        if let Some(key) = done.key {
            self.keys.release(key);
        }
    }

    pub(crate) fn complete(&mut self, done: &Done) {
        self.in_flight -= done.count;
        if done.tended {
            self.tended -= done.count;
        }
        match done.end {
            End::Finished => self.tracker.finish(done.seq, done.index, done.count),
            End::Held | End::Stopped | End::Abandoned => self.tracker.hold(done.seq, done.index),
            End::Unreadable => self.broken = true,
            End::Tended => {}
        }
        if let Some(key) = done.key {
            self.keys.release(key);
        }
        if let Some(front) = self.queue.front_mut()
            && front.seq == done.seq
            && done.after.index > front.at.index
        {
            front.at = done.after;
        }
    }

    /// Drops what was not handed out.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.returned.clear();
        self.keys = Keys::default();
        self.front_due = None;
        self.queued = 0;
    }

    /// All up to `until` has been handed out and has ended.
    pub(crate) fn is_ended(&self) -> bool {
        self.until.is_some_and(|until| self.tracker.end() >= until) && self.queued == 0 && self.in_flight == 0
    }

    pub(crate) fn set_goal(&mut self, goal: i64) {
        self.goal = Some(self.until.map_or(goal, |until| goal.min(until)));
    }

    /// Whether all below the goal has ended; while something is held, only [`take_reached_goal`](Self::take_reached_goal)
    /// can tell.
    pub(crate) fn has_reached_goal(&self) -> bool {
        self.goal.is_some_and(|goal| self.tracker.held() == 0 && self.tracker.watermark() >= goal)
    }

    /// The goal, once, when all below it has ended.
    pub(crate) fn take_reached_goal(&mut self) -> Option<i64> {
        let goal = self.goal?;
        let ended = self.tracker.end() >= goal && self.tracker.lowest_open().is_none_or(|open| open >= goal);
        if ended { self.goal.take() } else { None }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }
}
