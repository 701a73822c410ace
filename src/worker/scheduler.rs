//! Who runs next. One scheduler per consumer, behind one short lock: the driver pushes fetched blocks, lanes take
//! records in chunks and bring back what became of them. It also keeps each partition's tracker, so that hand-out and
//! completion are one step. What must stay true: commits never pass an unfinished record (C), what carries an older
//! assignment epoch is void (O), records of one key or partition never run at once or out of order (K).

use std::collections::VecDeque;
use std::sync::Arc;

use super::config::Order;
use super::keys::KeyHash;
use super::part::{Part, Prepared};
use super::record::{Assignment, Block, Origin};
use super::tracker::{Inherited, Progress};
use crate::client::types::AssignmentEpoch;
use crate::wire::records::{Cursor, RecordView};

/// One assignment of one partition: a place in the scheduler's table and the epoch that makes it unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartId {
    slot: u32,
    epoch: AssignmentEpoch,
}

/// Consecutive unparsed records of one block.
#[derive(Debug)]
pub(crate) struct Run<B> {
    pub(crate) part: PartId,
    pub(crate) origin: Arc<Origin<B>>,
    /// The tracker's number of the block.
    pub(crate) seq: u64,
    /// The first record's place in the tracker's block.
    pub(crate) index: u32,
    pub(crate) count: u32,
    /// Before the first record.
    pub(crate) at: Cursor,
}

/// One parsed record, under order by key.
#[derive(Debug)]
pub(crate) struct Item<B> {
    pub(crate) part: PartId,
    pub(crate) origin: Arc<Origin<B>>,
    pub(crate) seq: u64,
    pub(crate) index: u32,
    pub(crate) view: RecordView,
    /// `None` without a key: such records wait for nobody.
    pub(crate) key: Option<KeyHash>,
}

/// What a lane takes, or brings back unstarted.
#[derive(Debug)]
pub(crate) struct Work<B> {
    pub(crate) runs: VecDeque<Run<B>>,
    pub(crate) items: VecDeque<Item<B>>,
}

impl<B> Default for Work<B> {
    fn default() -> Self {
        Self { runs: VecDeque::new(), items: VecDeque::new() }
    }
}

impl<B> Work<B> {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.items.is_empty()
    }
}

/// What became of records that were started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) part: PartId,
    pub(crate) seq: u64,
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) key: Option<KeyHash>,
    pub(crate) end: End,
    /// [`End::Tended`] came before this.
    pub(crate) tended: bool,
    /// Behind them in their block, if that is known; else before its first record.
    pub(crate) after: Cursor,
}

/// How they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Handled, or failed and skipped.
    Finished,
    /// Failed and to be handled again by a later owner.
    Held,
    /// Failed, and the whole consumer is to stop.
    Stopped,
    /// To be handled again by a later owner, for there was no time for its next attempt.
    Abandoned,
    /// The handler has ended, and aftercare goes on: the record is unfinished, but what waited for it may start. Another
    /// `Done` follows.
    Tended,
    /// The bytes are no record: nothing more of this partition can be read, the consumer ends with an error.
    Unreadable,
}

/// How a scheduler behaves; fixed for its life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) order: Order,
    /// Lanes that share the work.
    pub(crate) lanes: u32,
    pub(crate) max_held: u32,
    /// Records that may be handed out in all.
    pub(crate) count: Option<u64>,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Scheduler<B> {
    rules: Rules,
    parts: Vec<Option<Part<B>>>,
    /// Places of `parts` that are empty.
    free: Vec<u32>,
    /// Slots that may have something to hand out, in turn.
    ready: VecDeque<u32>,
    /// Records not handed out.
    backlog: u64,
    /// Records handed out and not back, those of partitions long gone too.
    in_flight: u64,
    /// Records that may still be handed out.
    left: Option<u64>,
    stopped: bool,
    /// Nothing is handed out until [`resume`](Self::resume).
    paused: bool,
    failed: bool,
    /// Records given up before their next attempt, since [`take_abandoned`](Self::take_abandoned).
    abandoned: u64,
    /// A partition reached its goal, since [`take_reached`](Self::take_reached).
    reached: bool,
    /// Something happened since [`take_signal`](Self::take_signal) that the driver should look at.
    signal: bool,
    /// A partition reached `max_held` or cannot be read on, since [`take_alarm`](Self::take_alarm).
    alarm: bool,
    /// Records moved since [`take_activity`](Self::take_activity).
    active: bool,
}

impl<B: Block> Scheduler<B> {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            parts: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            backlog: 0,
            in_flight: 0,
            left: rules.count,
            stopped: false,
            paused: false,
            failed: false,
            abandoned: 0,
            reached: false,
            signal: false,
            alarm: false,
            active: false,
        }
    }

    /// Begins an assignment at `offset`. `inherited` are records above it that an earlier owner finished; `until` is the
    /// offset at which hand-out ends.
    pub(crate) fn attach(
        &mut self,
        assignment: Arc<Assignment>,
        offset: i64,
        leader_epoch: i32,
        inherited: Inherited,
        until: Option<i64>,
    ) -> PartId {
        let epoch = assignment.epoch;
        let part = Part::new(assignment, offset, leader_epoch, inherited, until);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.parts.push(None);
            self.parts.len() as u32 - 1
        });
        self.parts[slot as usize] = Some(part);
        PartId { slot, epoch }
    }

    /// Fetched blocks in log order, and where the next Fetch begins. False when the assignment is over.
    pub(crate) fn push(&mut self, id: PartId, blocks: Vec<Prepared<B>>, next_offset: i64) -> bool {
        let Some(part) = get(&mut self.parts, id).filter(|p| !p.assignment.is_closed()) else { return false };
        let before = part.queued();
        part.push(blocks, next_offset);
        self.backlog += part.queued() - before;
        self.active = true;
        self.reached |= part.has_reached_goal();
        self.signal |= part.is_ended() || self.reached;
        self.list(id.slot);
        true
    }

    /// Moves up to `want` records into `work`; fewer when few are ready, so that the lanes share them.
    pub(crate) fn take(&mut self, want: u32, work: &mut Work<B>) -> u32 {
        if self.stopped || self.paused || want == 0 {
            return 0;
        }
        let share = self.backlog.div_ceil(u64::from(self.rules.lanes.max(1))).max(1);
        let want = u64::from(want).min(share).min(self.left.unwrap_or(u64::MAX)) as u32;
        let mut taken = 0;
        for _ in 0..self.ready.len() {
            if taken == want {
                break;
            }
            let Some(slot) = self.ready.pop_front() else { break };
            let Some(part) = self.parts.get_mut(slot as usize).and_then(Option::as_mut) else { continue };
            part.listed = false;
            let id = PartId { slot, epoch: part.assignment.epoch };
            let n = part.take(id, self.rules, want - taken, work);
            let broken = part.is_broken();
            taken += n;
            // The driver keeps the time.
            self.signal |= part.take_news();
            self.raise_alarm(broken);
            if n > 0 {
                self.list(slot);
            }
        }
        self.backlog -= u64::from(taken);
        self.in_flight += u64::from(taken);
        if let Some(left) = &mut self.left {
            *left -= u64::from(taken);
        }
        self.active |= taken > 0;
        taken
    }

    /// Records that were taken and not started are the next again.
    pub(crate) fn put_back(&mut self, work: &mut Work<B>) {
        while let Some(run) = work.runs.pop_back() {
            let (id, n) = (run.part, run.count);
            self.returned(id, n, |part| part.put_back_run(run));
        }
        while let Some(item) = work.items.pop_back() {
            let id = item.part;
            self.returned(id, 1, |part| part.put_back_item(item));
        }
    }

    fn returned(&mut self, id: PartId, n: u32, put: impl FnOnce(&mut Part<B>)) {
        self.in_flight -= u64::from(n);
        if let Some(left) = &mut self.left {
            *left += u64::from(n);
        }
        if let Some(part) = get(&mut self.parts, id) {
            part.in_flight -= n;
            if part.assignment.is_closed() {
                self.signal |= part.in_flight == 0;
            } else {
                put(part);
                self.backlog += u64::from(n);
                self.list(id.slot);
            }
        }
        self.signal |= self.in_flight == 0 && self.stopped;
    }

    /// What became of started records. Of an assignment that is over it counts only that they ended.
    pub(crate) fn complete(&mut self, done: Done) {
        self.active = true;
        if done.end == End::Tended {
            if let Some(part) = get(&mut self.parts, done.part) {
                part.tend(&done);
                self.list(done.part.slot);
            }
            return;
        }
        self.in_flight -= u64::from(done.count);
        self.abandoned += u64::from(done.end == End::Abandoned);
        if let Some(part) = get(&mut self.parts, done.part) {
            part.complete(&done);
            let (closed, held) = (part.assignment.is_closed(), part.tracker.held() >= self.rules.max_held);
            self.reached |= part.has_reached_goal();
            self.signal |= (closed && part.in_flight == 0) || part.is_ended() || self.reached;
            let alarm = part.is_broken() || (held && done.end == End::Held);
            self.raise_alarm(alarm);
            if done.end == End::Stopped {
                self.stopped = true;
                self.failed = true;
                self.signal = true;
            }
            self.list(done.part.slot);
        }
        self.signal |= self.in_flight == 0 && (self.stopped || self.left == Some(0));
    }

    /// Hands out nothing more of this assignment; what is running may end.
    pub(crate) fn close(&mut self, id: PartId) {
        if let Some(part) = get(&mut self.parts, id) {
            part.assignment.close();
        }
        self.clear(id);
    }

    /// Drops what is not handed out yet and will not be.
    pub(crate) fn clear(&mut self, id: PartId) {
        if let Some(part) = get(&mut self.parts, id) {
            self.backlog -= part.queued();
            part.clear();
        }
    }

    /// Takes in nothing more of this assignment: it has ended when what was taken in has.
    pub(crate) fn end_here(&mut self, id: PartId) {
        if let Some(part) = get(&mut self.parts, id) {
            part.end_here();
        }
    }

    /// Forgets the assignment; late completions are ignored.
    pub(crate) fn remove(&mut self, id: PartId) {
        self.close(id);
        if get(&mut self.parts, id).is_some() {
            self.parts[id.slot as usize] = None;
            self.free.push(id.slot);
        }
    }

    /// Hands out nothing more at all.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.signal |= self.in_flight == 0;
    }

    /// Hands out nothing until [`resume`](Self::resume).
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// What time it is, in ms since 1970, for partitions whose records are delayed.
    pub(crate) fn set_now(&mut self, now_ms: i64) {
        for slot in 0..self.parts.len() {
            if let Some(part) = &mut self.parts[slot]
                && part.assignment.delayed.is_some()
            {
                part.set_now(now_ms);
                self.list(slot as u32);
            }
        }
    }

    /// When the next record of any partition is due that waits for that.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.parts.iter().flatten().filter_map(Part::due).min()
    }

    /// When the next record of this assignment is due, if it waits for that.
    pub(crate) fn due(&self, id: PartId) -> Option<i64> {
        self.part(id).and_then(Part::due)
    }

    /// Tells when all below `offset` has ended.
    pub(crate) fn set_goal(&mut self, id: PartId, offset: i64) {
        if let Some(part) = get(&mut self.parts, id) {
            part.set_goal(offset);
        }
    }

    /// Whether to ask for goals that are reached; asked once.
    pub(crate) fn take_reached(&mut self) -> bool {
        std::mem::take(&mut self.reached)
    }

    /// This assignment's goal, once, when it is reached.
    pub(crate) fn take_reached_goal(&mut self, id: PartId) -> Option<i64> {
        get(&mut self.parts, id).and_then(Part::take_reached_goal)
    }

    /// The lowest offset of this assignment whose handler runs.
    pub(crate) fn lowest_running(&self, id: PartId) -> Option<i64> {
        self.part(id).filter(|p| p.in_flight > 0).and_then(|p| p.tracker.lowest_open())
    }

    /// A handler failed under [`End::Stopped`].
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Records given up before their next attempt since the last question.
    pub(crate) fn take_abandoned(&mut self) -> u64 {
        std::mem::take(&mut self.abandoned)
    }

    /// Records handed out and not back.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Those of one assignment.
    pub(crate) fn in_flight_of(&self, id: PartId) -> u32 {
        self.part(id).map_or(0, |p| p.in_flight)
    }

    /// Those of them whose handlers have ended and whose aftercare goes on.
    pub(crate) fn tended_of(&self, id: PartId) -> u32 {
        self.part(id).map_or(0, |p| p.tended)
    }

    /// All records that may be handed out have been, and have ended.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left == Some(0) && self.in_flight == 0
    }

    /// Whether all up to this assignment's `until` has ended.
    pub(crate) fn is_ended(&self, id: PartId) -> bool {
        self.part(id).is_some_and(Part::is_ended)
    }

    /// Whether a record of it could not be read; with its place.
    pub(crate) fn broken_at(&self, id: PartId) -> Option<i64> {
        self.part(id).and_then(|p| p.is_broken().then(|| p.tracker.watermark()))
    }

    pub(crate) fn held(&self, id: PartId) -> u32 {
        self.part(id).map_or(0, |p| p.tracker.held())
    }

    /// The lowest unfinished offset.
    pub(crate) fn watermark(&self, id: PartId) -> Option<i64> {
        self.part(id).map(|p| p.tracker.watermark())
    }

    /// What a commit of this assignment says now.
    pub(crate) fn progress(&self, id: PartId, max_runs: usize) -> Option<Progress> {
        self.part(id).map(|p| p.progress(max_runs))
    }

    /// Whether a lane that looks now may find something.
    pub(crate) fn has_work(&self) -> bool {
        !self.stopped && !self.paused && !self.ready.is_empty() && self.left != Some(0)
    }

    /// Something the driver should look at happened; asked once.
    pub(crate) fn take_signal(&mut self) -> bool {
        std::mem::take(&mut self.signal)
    }

    /// Signals once: who drains partitions does not look at alarms, and must not be called again and again for one.
    fn raise_alarm(&mut self, raised: bool) {
        self.alarm |= raised;
        self.signal |= raised;
    }

    /// Whether to look for partitions at `max_held` or that cannot be read on; asked once.
    pub(crate) fn take_alarm(&mut self) -> bool {
        std::mem::take(&mut self.alarm)
    }

    /// Whether anything moved since the last question.
    pub(crate) fn take_activity(&mut self) -> bool {
        std::mem::take(&mut self.active)
    }

    /// As [`take_activity`](Self::take_activity), leaving the answer.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    fn list(&mut self, slot: u32) {
        if let Some(part) = self.parts.get_mut(slot as usize).and_then(Option::as_mut)
            && !part.listed
            && part.is_available(self.rules)
        {
            part.listed = true;
            self.ready.push_back(slot);
        }
    }

    fn part(&self, id: PartId) -> Option<&Part<B>> {
        self.parts.get(id.slot as usize)?.as_ref().filter(|p| p.assignment.epoch == id.epoch)
    }
}

fn get<B>(parts: &mut [Option<Part<B>>], id: PartId) -> Option<&mut Part<B>> {
    let part = parts.get_mut(id.slot as usize)?.as_mut();
    part.filter(|p| p.assignment.epoch == id.epoch || mutant!(IgnoreAssignmentEpoch))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::job::Ticket;
    use super::super::record::Delayed;
    use super::super::testkit::TestBlock;
    use super::*;
    use crate::client::types::TopicPartition;

    fn scheduler(order: Order) -> (Scheduler<TestBlock>, Arc<Assignment>) {
        let rules = Rules { order, lanes: 1, max_held: 10, count: None };
        (Scheduler::new(rules), Assignment::new(TopicPartition::new("t", 0), AssignmentEpoch(1)))
    }

    /// Found by the simulation: a subscription that stopped while a partition was at `max_held` turned in circles.
    #[test]
    fn a_partition_that_holds_too_much_signals_once_and_is_remembered() {
        let (mut scheduler, assignment) = scheduler(Order::None);
        scheduler.rules.max_held = 1;
        let id = scheduler.attach(assignment, 0, -1, Inherited::default(), None);
        scheduler.push(id, vec![Prepared::new(Arc::new(TestBlock::new(0, 2))).unwrap().unwrap()], 2);
        let mut work = Work::default();
        scheduler.take(2, &mut work);
        scheduler.take_signal();
        scheduler.complete(Ticket { part: id, seq: 0, index: 0, key: None }.done(End::Held));
        assert!(scheduler.take_signal());
        assert!(!scheduler.take_signal());
        assert!(scheduler.take_alarm());
    }

    /// Found by the simulation: with a small fetch budget, bytes that stayed for nothing were those the fetcher waited for.
    #[test]
    fn a_block_whose_last_records_are_finished_already_is_let_go_with_its_last_unfinished_one() {
        for order in [Order::None, Order::Partition, Order::Key] {
            let (mut scheduler, assignment) = scheduler(order);
            let id = scheduler.attach(assignment, 0, -1, Inherited { runs: vec![(2, 5)], leader_epoch: 0 }, None);
            let block = Arc::new(TestBlock::new(0, 5));
            scheduler.push(id, vec![Prepared::new(block.clone()).unwrap().unwrap()], 5);
            // What a lane does: once more than there are records.
            for _ in 0..4 {
                let mut work = Work::default();
                scheduler.take(10, &mut work);
                let runs = work.runs.drain(..).map(|r| (r.seq, r.index, r.count, None, behind(&r)));
                let items = work.items.drain(..).map(|i| (i.seq, i.index, 1, i.key, Cursor::default()));
                for (seq, index, count, key, after) in runs.chain(items).collect::<Vec<_>>() {
                    scheduler.complete(Done {
                        count,
                        after,
                        ..Ticket { part: id, seq, index, key }.done(End::Finished)
                    });
                }
            }
            assert_eq!(scheduler.watermark(id), Some(5));
            assert_eq!(Arc::strong_count(&block), 1, "{order:?}: the block is kept");
        }
    }

    /// Where a lane stands when it has come to the end of a run.
    fn behind(run: &Run<TestBlock>) -> Cursor {
        let mut at = run.at;
        for _ in 0..run.count {
            assert!(run.origin.block.batch().skip(&mut at).unwrap());
        }
        at
    }

    #[test]
    fn runs_of_one_block_follow_on_each_other_in_whatever_order_they_end() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (mut scheduler, assignment) = scheduler(Order::None);
            // Some were finished by an earlier owner.
            let runs = if rng.bool() { vec![(7, 9), (20, 33)] } else { Vec::new() };
            let inherited = Inherited { runs: runs.clone(), leader_epoch: 0 };
            let id = scheduler.attach(assignment, 0, -1, inherited, None);
            scheduler.push(id, vec![Prepared::new(Arc::new(TestBlock::new(0, 50))).unwrap().unwrap()], 50);
            let (mut under_way, mut offsets) = (Vec::new(), Vec::new());
            while scheduler.watermark(id) != Some(50) {
                let mut work = Work::default();
                scheduler.take(rng.u32(1..8), &mut work);
                under_way.extend(work.runs);
                if under_way.is_empty() || rng.bool() && under_way.len() < 4 {
                    continue;
                }
                let run = under_way.swap_remove(rng.usize(..under_way.len()));
                let (mut at, after) = (run.at, behind(&run));
                for _ in 0..run.count {
                    offsets.push(run.origin.block.batch().next(&mut at).unwrap().unwrap().offset);
                }
                let Run { part, seq, index, count, .. } = run;
                let ticket = Ticket { part, seq, index, key: None };
                scheduler.complete(Done { count, after, ..ticket.done(End::Finished) });
            }
            offsets.sort_unstable();
            let finished = |offset: &i64| runs.iter().any(|(from, to)| (from..to).contains(&offset));
            assert_eq!(offsets, (0..50).filter(|offset| !finished(offset)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_delayed_record_waits_alone_and_no_longer_than_its_delay() {
        for order in [Order::None, Order::Partition, Order::Key] {
            let (mut scheduler, other) = scheduler(order);
            let delayed = Some(Delayed { stage: 1, by: Duration::from_millis(100) });
            let assignment = Assignment::of(TopicPartition::new("r", 0), AssignmentEpoch(2), 0, delayed);
            let (id, free) = (
                scheduler.attach(assignment, 0, -1, Inherited::default(), None),
                scheduler.attach(other, 0, -1, Inherited::default(), None),
            );
            // The records' times are their places in the batch.
            scheduler.set_now(1_000);
            let block = |base| vec![Prepared::new(Arc::new(TestBlock::new(base, 3))).unwrap().unwrap()];
            let take = |scheduler: &mut Scheduler<TestBlock>, now: i64| {
                scheduler.set_now(now);
                let mut work = Work::default();
                let taken = scheduler.take(10, &mut work) + scheduler.take(10, &mut work);
                let runs = work.runs.drain(..).map(|r| (r.part, r.seq, r.index, r.count, None));
                let items = work.items.drain(..).map(|i| (i.part, i.seq, i.index, 1, i.key));
                for (part, seq, index, count, key) in runs.chain(items).collect::<Vec<_>>() {
                    scheduler.complete(Done { count, ..Ticket { part, seq, index, key }.done(End::Finished) });
                }
                taken
            };
            // A clock that is behind the records' times: they count as made now.
            scheduler.set_now(-50);
            scheduler.push(id, block(0), 3);
            scheduler.push(free, block(0), 3);
            assert_eq!(take(&mut scheduler, -50), 3, "{order:?}: of the other partition");
            assert!(scheduler.take_signal());
            assert_eq!((scheduler.next_due(), scheduler.due(free)), (Some(50), None));
            assert!(!scheduler.has_work());
            assert_eq!(take(&mut scheduler, 49), 0);
            assert_eq!(take(&mut scheduler, 50), 1, "{order:?}");
            assert_eq!(take(&mut scheduler, 100), 0);
            assert_eq!(scheduler.next_due(), Some(101));
            assert_eq!(take(&mut scheduler, 1_000), 2, "{order:?}");
            assert_eq!((scheduler.watermark(id), scheduler.next_due()), (Some(3), None));
        }
    }
}
