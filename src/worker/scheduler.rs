//! Who runs next. One scheduler per consumer, behind one short lock: the driver pushes fetched blocks, lanes take
//! records in chunks and bring back what became of them. It also keeps each partition's tracker, so that hand-out and
//! completion are one step. What must stay true: commits never pass an unfinished record (C), what carries an older
//! assignment epoch is void (O), records of one key or partition never run at once or out of order (K).

mod looks;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;

use super::part::{Part, Prepared};
use super::record::{Assignment, Block};
use super::tracker::Inherited;
pub(crate) use work::{Done, End, Item, PartId, Rules, Run, Work};

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

    /// Signals once: who drains partitions does not look at alarms, and must not be called again and again for one.
    fn raise_alarm(&mut self, raised: bool) {
        self.alarm |= raised;
        self.signal |= raised;
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
mod tests;
