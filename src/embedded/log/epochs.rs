//! The leader epochs of a log and where each began (KIP-101, KIP-320).

/// Ascending in both numbers.
#[derive(Debug, Default)]
pub(super) struct Epochs(Vec<(i32, i64)>);

impl Epochs {
    /// `epoch` begins at `start`. Entries it contradicts, such as of a leader that wrote nothing, are dropped.
    pub(super) fn begin(&mut self, epoch: i32, start: i64) {
        if self.latest() == epoch {
            return;
        }
        self.0.retain(|&(e, s)| e < epoch && s < start);
        self.0.push((epoch, start));
    }

    pub(super) fn latest(&self) -> i32 {
        self.0.last().map_or(-1, |&(epoch, _)| epoch)
    }

    pub(super) fn at(&self, offset: i64) -> i32 {
        self.0.iter().rev().find(|&&(_, start)| start <= offset).map_or(-1, |&(epoch, _)| epoch)
    }

    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> (i32, i64) {
        if epoch < 0 || self.latest() < epoch {
            return (-1, -1);
        }
        let above = self.0.partition_point(|&(e, _)| e <= epoch);
        let end = self.0.get(above).map_or(log_end, |&(_, start)| start);
        match above.checked_sub(1) {
            Some(floor) => (self.0[floor].0, end),
            None => (epoch, end),
        }
    }

    /// The log ends at `end` now.
    pub(super) fn truncate(&mut self, end: i64) {
        self.0.retain(|&(_, start)| start < end);
    }

    /// The log begins at `start` now: the epoch in force there begins there.
    pub(super) fn shrink(&mut self, start: i64) {
        let passed = self.0.iter().filter(|&&(_, s)| s <= start).count();
        self.0.drain(..passed.saturating_sub(1));
        if let Some(first) = self.0.first_mut() {
            first.1 = first.1.max(start);
        }
    }
}
