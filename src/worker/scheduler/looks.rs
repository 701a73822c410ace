//! What a scheduler is asked, mostly by the driver.

use super::{PartId, Scheduler, get};
use crate::worker::part::Part;
use crate::worker::record::Block;
use crate::worker::tracker::Progress;

impl<B: Block> Scheduler<B> {
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
}
