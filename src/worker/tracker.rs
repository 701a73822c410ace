//! Which records of one partition are finished, and therefore what may be committed. The scheduler owns one per
//! assigned partition and feeds it every fetched block in log order. The watermark comes from hand-out order, never
//! from offset arithmetic: compacted, aborted and control offsets belong to no record and must not hold it back.

use std::collections::{BTreeSet, VecDeque};

/// Half-open range of offsets, `start..end`.
pub(crate) type OffsetRun = (i64, i64);

const MERGE_FROM: usize = 64;

/// The finished part of one assignment of one partition.
#[derive(Debug)]
pub(crate) struct Tracker {
    blocks: VecDeque<Block>,
    /// Number of the next block.
    next_seq: u64,
    /// Length of `blocks` at which finished neighbours are merged, so that memory follows what is unfinished.
    merge_at: usize,
    /// The commit offset when `blocks` is empty: everything below is finished.
    next: i64,
    /// Leader epoch of the last record below `next`; −1 unknown.
    leader_epoch: i32,
    /// Failed records that stay unfinished for ever: block and place.
    held: BTreeSet<(u64, u32)>,
}

/// One fetched batch, or a stretch of the log without data.
#[derive(Debug)]
struct Block {
    seq: u64,
    /// Where the block before ends; `start..next_offset` holds this block's records and nothing else.
    start: i64,
    next_offset: i64,
    leader_epoch: i32,
    count: u32,
    pending: u32,
    /// Records `0..prefix` are finished; all that is known while `bits` is empty.
    prefix: u32,
    /// One bit per record, made at the first completion out of order.
    bits: Vec<u64>,
    offsets: Offsets,
}

/// Offsets of a block's records.
#[derive(Debug)]
pub(crate) enum Offsets {
    /// The first record's offset; the rest follow without a gap.
    Dense(i64),
    /// Compacted: each record's own.
    Sparse(Box<[i64]>),
}

impl Offsets {
    fn of(&self, index: u32) -> i64 {
        match self {
            Self::Dense(first) => first + i64::from(index),
            Self::Sparse(all) => all[index as usize],
        }
    }

    /// Indexes of the records with offsets in `start..end`, of `count` records.
    fn indexes(&self, (start, end): OffsetRun, count: u32) -> std::ops::Range<u32> {
        match self {
            Self::Dense(first) => {
                let at = |offset: i64| (offset - first).clamp(0, i64::from(count)) as u32;
                at(start)..at(end)
            }
            Self::Sparse(all) => {
                let at = |offset: i64| all.partition_point(|o| *o < offset) as u32;
                at(start)..at(end)
            }
        }
    }
}

/// What a commit of the partition says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The lowest unfinished offset: the next one to handle after a restart.
    pub(crate) offset: i64,
    /// Leader epoch of the last record below `offset`; −1 unknown.
    pub(crate) leader_epoch: i32,
    /// Finished records above `offset`, ascending, apart from each other.
    pub(crate) runs: Vec<OffsetRun>,
    /// Leader epoch of the highest finished record in `runs`; −1 without runs.
    pub(crate) runs_epoch: i32,
}

/// What an earlier owner finished above the offset it committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// Ascending, apart from each other.
    pub(crate) runs: Vec<OffsetRun>,
    /// Leader epoch of the highest record in them.
    pub(crate) leader_epoch: i32,
}

impl Inherited {
    /// Adds what lies at `end` and behind it, not read again yet: it is no less finished.
    pub(crate) fn add_to(&self, progress: &mut Progress, end: i64, max_runs: usize) {
        for &(start, to) in self.runs.iter().filter(|run| run.1 > end) {
            let start = start.max(end);
            let full = progress.runs.len() >= max_runs;
            match progress.runs.last_mut() {
                // Nothing unfinished lies before it.
                None if start <= progress.offset => (progress.offset, progress.leader_epoch) = (to, -1),
                Some(last) if last.1 == start => last.1 = to,
                _ if full => return,
                _ => progress.runs.push((start, to)),
            }
            if !progress.runs.is_empty() {
                progress.runs_epoch = self.leader_epoch;
            }
        }
    }
}

impl Tracker {
    /// Nothing handed out yet, everything below `offset` is done with.
    pub(crate) fn new(offset: i64, leader_epoch: i32) -> Self {
        Self {
            blocks: VecDeque::new(),
            next_seq: 0,
            merge_at: MERGE_FROM,
            next: offset,
            leader_epoch,
            held: BTreeSet::new(),
        }
    }

    /// Where the next block starts.
    pub(crate) fn end(&self) -> i64 {
        self.blocks.back().map_or(self.next, |b| b.next_offset)
    }

    /// Blocks between the watermark and the newest record.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Failed records that hold the watermark.
    pub(crate) fn held(&self) -> u32 {
        self.held.len() as u32
    }

    /// The log up to `next_offset` holds no data beyond the blocks pushed so far.
    pub(crate) fn advance(&mut self, next_offset: i64) {
        match self.blocks.back_mut() {
            Some(last) => last.next_offset = last.next_offset.max(next_offset),
            None => self.next = self.next.max(next_offset),
        }
    }

    /// A block of `count` records in log order. Those in `finished` (ascending) are done already, from an earlier
    /// owner's commit. Returns the block's number and how many records were done.
    pub(crate) fn push(
        &mut self,
        count: u32,
        offsets: Offsets,
        next_offset: i64,
        leader_epoch: i32,
        finished: &[OffsetRun],
    ) -> (u64, u32) {
        // A log that was cut off (unclean election) goes on at a lower offset, and so does what may be committed.
        let start = if count > 0 { self.end().min(offsets.of(0)) } else { self.end() };
        let seq = self.next_seq;
        self.next_seq += 1;
        let mut block = Block {
            seq,
            start,
            next_offset,
            leader_epoch,
            count,
            pending: count,
            prefix: 0,
            bits: Vec::new(),
            offsets,
        };
        let mut done = 0;
        for run in finished {
            let indexes = block.offsets.indexes(*run, count);
            if !indexes.is_empty() {
                done += block.finish(indexes.start, indexes.end - indexes.start);
            }
        }
        self.blocks.push_back(block);
        self.settle();
        if self.blocks.len() >= self.merge_at {
            self.merge();
        }
        (seq, done)
    }

    /// Records `first..first + n` of block `seq` are finished. Ignores what is finished already.
    pub(crate) fn finish(&mut self, seq: u64, first: u32, n: u32) {
        let Some(at) = self.find(seq) else { return };
        let block = &mut self.blocks[at];
        block.finish(first, n);
        if at == 0 && block.pending == 0 {
            self.settle();
        }
    }

    /// One record failed and is to be handled again by a later owner: it stays unfinished.
    pub(crate) fn hold(&mut self, seq: u64, index: u32) {
        self.held.insert((seq, index));
    }

    /// The lowest offset that is neither finished nor held.
    pub(crate) fn lowest_open(&self) -> Option<i64> {
        self.blocks.iter().filter(|block| block.pending > 0).find_map(|block| {
            let is_open = |i: &u32| !block.is_finished(*i) && !self.held.contains(&(block.seq, *i));
            (block.first_unfinished()..block.count).find(is_open).map(|i| block.offset(i))
        })
    }

    /// Whether a record of block `seq` is finished.
    pub(crate) fn is_finished(&self, seq: u64, index: u32) -> bool {
        self.find(seq).is_none_or(|at| self.blocks[at].is_finished(index))
    }

    /// The first stretch of unfinished records of block `seq` at or after `from`: `(first, length)`.
    pub(crate) fn unfinished(&self, seq: u64, from: u32) -> Option<(u32, u32)> {
        let block = &self.blocks[self.find(seq)?];
        let first = (from..block.count).find(|i| !block.is_finished(*i))?;
        let end = (first..block.count).find(|i| block.is_finished(*i)).unwrap_or(block.count);
        Some((first, end - first))
    }

    /// The lowest unfinished offset.
    pub(crate) fn watermark(&self) -> i64 {
        self.blocks.front().map_or(self.next, |b| match b.first_unfinished() {
            0 => b.start,
            index => b.offset(index),
        })
    }

    /// What to commit, with at most `max_runs` of the lowest runs.
    pub(crate) fn progress(&self, max_runs: usize) -> Progress {
        let offset = if mutant!(CommitBeforeHandling) { self.end() } else { self.watermark() };
        let leader_epoch = match self.blocks.front() {
            Some(b) if b.first_unfinished() > 0 => b.leader_epoch,
            _ => self.leader_epoch,
        };
        let mut progress = Progress { offset, leader_epoch, runs: Vec::new(), runs_epoch: -1 };
        for block in &self.blocks {
            if !block.runs(offset, max_runs, &mut progress) {
                break;
            }
        }
        progress
    }

    /// Where block `seq` is; by subtraction unless blocks were merged since.
    fn find(&self, seq: u64) -> Option<usize> {
        let guess = seq.checked_sub(self.blocks.front()?.seq)? as usize;
        match self.blocks.get(guess) {
            Some(block) if block.seq == seq => Some(guess),
            _ => self.blocks.binary_search_by_key(&seq, |b| b.seq).ok(),
        }
    }

    /// Makes one block of finished neighbours above the watermark: only a held or slow record below keeps them.
    fn merge(&mut self) {
        let mut merged: VecDeque<Block> = VecDeque::with_capacity(self.blocks.len() / 2);
        for block in self.blocks.drain(..) {
            match merged.back_mut() {
                Some(last) if last.pending == 0 && block.pending == 0 => last.absorb(block),
                _ => merged.push_back(block),
            }
        }
        self.blocks = merged;
        self.merge_at = self.blocks.len() * 2 + MERGE_FROM;
    }

    /// Drops finished blocks below the watermark.
    fn settle(&mut self) {
        while self.blocks.front().is_some_and(|b| b.pending == 0) {
            if let Some(done) = self.blocks.pop_front() {
                self.next = done.next_offset;
                if done.count > 0 {
                    self.leader_epoch = done.leader_epoch;
                }
            }
        }
    }
}

impl Block {
    /// Takes in the finished block behind it, itself finished.
    fn absorb(&mut self, next: Block) {
        if next.count > 0 {
            self.leader_epoch = next.leader_epoch;
        }
        // One finished record stands for all of them.
        self.count = u32::from(self.count > 0 || next.count > 0);
        self.prefix = self.count;
        self.bits = Vec::new();
        self.offsets = Offsets::Dense(self.start);
        self.next_offset = next.next_offset;
    }

    /// The offset of record `index`, or the block's end.
    fn offset(&self, index: u32) -> i64 {
        if index < self.count { self.offsets.of(index) } else { self.next_offset }
    }

    fn is_finished(&self, index: u32) -> bool {
        match self.bits.get(index as usize / 64) {
            Some(word) => word >> (index % 64) & 1 == 1,
            None => index < self.prefix,
        }
    }

    /// Returns how many were not finished before.
    fn finish(&mut self, first: u32, n: u32) -> u32 {
        let end = first.saturating_add(n).min(self.count);
        if self.bits.is_empty() {
            if first <= self.prefix {
                let new = end.saturating_sub(self.prefix);
                self.prefix += new;
                self.pending -= new;
                return new;
            }
            self.bits = vec![0; (self.count as usize).div_ceil(64)];
            let prefix = self.prefix;
            self.set(0, prefix);
        }
        let new = self.set(first, end);
        self.pending -= new;
        new
    }

    /// Sets bits `first..end`; returns how many were clear.
    fn set(&mut self, first: u32, end: u32) -> u32 {
        let (mut at, mut new) = (first, 0);
        while at < end {
            let n = (64 - at % 64).min(end - at);
            let mask = (u64::MAX >> (64 - n)) << (at % 64);
            let word = &mut self.bits[at as usize / 64];
            new += (mask & !*word).count_ones();
            *word |= mask;
            at += n;
        }
        new
    }

    fn first_unfinished(&self) -> u32 {
        if self.bits.is_empty() {
            return self.prefix;
        }
        for (i, word) in self.bits.iter().enumerate() {
            if *word != u64::MAX {
                return (i as u32 * 64 + word.trailing_ones()).min(self.count);
            }
        }
        self.count
    }

    /// Appends this block's finished runs above `watermark`; false when there is no more room.
    fn runs(&self, watermark: i64, max_runs: usize, progress: &mut Progress) -> bool {
        if self.count == 0 {
            // A stretch without data is no run by itself, but joins its neighbours.
            if let Some(last) = progress.runs.last_mut().filter(|last| last.1 == self.start) {
                last.1 = self.next_offset;
            }
            return true;
        }
        let mut index = 0;
        while let Some(begin) = (index..self.count).find(|i| self.is_finished(*i)) {
            index = (begin..self.count).find(|i| !self.is_finished(*i)).unwrap_or(self.count);
            let from = if begin == 0 { self.start } else { self.offset(begin) };
            let to = self.offset(index);
            if from < watermark {
                continue;
            }
            let runs = &mut progress.runs;
            let full = runs.len() == max_runs;
            match runs.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ if full => return false,
                _ => runs.push((from, to)),
            }
            progress.runs_epoch = self.leader_epoch;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(tracker: &mut Tracker, first: i64, count: u32) -> u64 {
        tracker.push(count, Offsets::Dense(first), first + i64::from(count), 3, &[]).0
    }

    #[test]
    fn the_watermark_is_the_lowest_unfinished_offset_in_any_order_of_completion() {
        let mut t = Tracker::new(100, -1);
        let (a, b) = (dense(&mut t, 100, 70), dense(&mut t, 170, 3));
        assert_eq!(t.watermark(), 100);
        t.finish(b, 0, 3);
        t.finish(a, 1, 69);
        assert_eq!(t.watermark(), 100);
        t.finish(a, 0, 1);
        assert_eq!((t.watermark(), t.len()), (173, 0));
        assert_eq!(t.progress(10).leader_epoch, 3);
    }

    #[test]
    fn blocks_without_data_advance_the_watermark_too() {
        let mut t = Tracker::new(0, -1);
        t.advance(5);
        assert_eq!(t.watermark(), 5);
        let a = dense(&mut t, 5, 1);
        t.advance(9);
        assert_eq!(t.watermark(), 5);
        t.finish(a, 0, 1);
        assert_eq!(t.watermark(), 9);
    }

    #[test]
    fn a_compacted_block_commits_the_next_existing_record() {
        let mut t = Tracker::new(10, -1);
        let (a, _) = t.push(3, Offsets::Sparse([12, 40, 41].into()), 60, 1, &[]);
        assert_eq!(t.watermark(), 10);
        t.finish(a, 0, 1);
        assert_eq!(t.watermark(), 40);
        t.finish(a, 2, 1);
        assert_eq!(t.progress(9).runs, vec![(41, 60)]);
        t.finish(a, 1, 1);
        assert_eq!(t.watermark(), 60);
    }

    #[test]
    fn finishing_twice_or_out_of_range_changes_nothing() {
        let mut t = Tracker::new(0, -1);
        let a = dense(&mut t, 0, 4);
        t.finish(a, 2, 1);
        t.finish(a, 2, 1);
        t.finish(a, 3, 500);
        t.finish(a + 7, 0, 4);
        assert_eq!(t.watermark(), 0);
        t.finish(a, 0, 2);
        t.finish(a, 0, 2);
        assert_eq!(t.watermark(), 4);
    }

    #[test]
    fn runs_join_over_blocks_and_round_trip_into_a_new_owner() {
        let mut t = Tracker::new(0, -1);
        let (a, b) = (dense(&mut t, 0, 4), dense(&mut t, 4, 4));
        t.finish(a, 2, 2);
        t.finish(b, 0, 1);
        t.finish(b, 3, 1);
        let p = t.progress(10);
        assert_eq!(p.runs, vec![(2, 5), (7, 8)]);
        assert_eq!(t.progress(1).runs, vec![(2, 5)]);

        let mut next = Tracker::new(p.offset, p.leader_epoch);
        let (seq, done) = next.push(8, Offsets::Dense(0), 8, 3, &p.runs);
        assert_eq!(done, 4);
        assert_eq!(next.unfinished(seq, 0), Some((0, 2)));
        assert_eq!(next.unfinished(seq, 2), Some((5, 2)));
        assert_eq!(next.unfinished(seq, 7), None);
        next.finish(seq, 0, 2);
        next.finish(seq, 5, 2);
        assert_eq!(next.watermark(), 8);
    }

    /// Found by the simulation: with a small fetch budget these records came again after a clean stop.
    #[test]
    fn what_an_earlier_owner_finished_stays_finished_until_it_is_read_again() {
        let inherited = Inherited { runs: vec![(3, 5), (9, 12), (20, 21)], leader_epoch: 7 };
        let mut t = Tracker::new(1, 2);
        let seq = dense(&mut t, 1, 9); // up to 10
        let progress = |t: &Tracker, max_runs| {
            let mut progress = t.progress(max_runs);
            inherited.add_to(&mut progress, t.end(), max_runs);
            progress
        };
        assert_eq!(progress(&t, 10).runs, [(10, 12), (20, 21)], "the first is the tracker's affair now");
        assert_eq!((progress(&t, 10).offset, progress(&t, 10).runs_epoch), (1, 7));
        assert_eq!(progress(&t, 1).runs, [(10, 12)]);
        t.finish(seq, 8, 1);
        assert_eq!(progress(&t, 10).runs, [(9, 12), (20, 21)]);
        t.finish(seq, 0, 8);
        let all = progress(&t, 10);
        assert_eq!((all.offset, all.leader_epoch, &all.runs[..]), (12, -1, &[(20, 21)][..]));
    }

    #[test]
    fn after_the_log_was_cut_off_the_commit_goes_back_with_it() {
        let mut t = Tracker::new(1_000, -1);
        let a = dense(&mut t, 900, 10);
        assert_eq!(t.watermark(), 900);
        t.finish(a, 0, 10);
        assert_eq!(t.watermark(), 910);
    }

    #[test]
    fn one_held_record_keeps_little_memory_however_much_passes_it() {
        let mut t = Tracker::new(0, -1);
        let first = dense(&mut t, 0, 1);
        t.hold(first, 0);
        for i in 1..100_000 {
            let seq = dense(&mut t, i, 1);
            t.finish(seq, 0, 1);
        }
        assert!(t.len() < 300, "{}", t.len());
        assert_eq!(t.progress(10).runs, vec![(1, 100_000)]);
        t.finish(first, 0, 1);
        assert_eq!(t.watermark(), 100_000);
    }

    #[test]
    fn random_completions_agree_with_a_plain_model() {
        for seed in 0..40 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut t = Tracker::new(0, -1);
            let (mut open, mut offset) = (Vec::new(), 0i64);
            for _ in 0..rng.u32(1..5) {
                let count = rng.u32(1..80);
                let sparse: Box<[i64]> = (0..count)
                    .map(|_| {
                        offset += rng.i64(1..4);
                        offset - 1
                    })
                    .collect();
                offset += rng.i64(0..3);
                let all = sparse.to_vec();
                let (seq, _) = t.push(count, Offsets::Sparse(sparse), offset, 0, &[]);
                open.extend(all.into_iter().enumerate().map(|(i, o)| (seq, i as u32, o)));
            }
            let mut finished: Vec<i64> = Vec::new();
            while !open.is_empty() {
                let (seq, index, at) = open.swap_remove(rng.usize(..open.len()));
                t.finish(seq, index, 1);
                finished.push(at);
                let lowest = open.iter().map(|o| o.2).min();
                let p = t.progress(usize::MAX);
                match lowest {
                    // Below the first unfinished record nothing else is unfinished, so the block's start is as good.
                    Some(lowest) => {
                        assert!(p.offset <= lowest && !finished.iter().any(|f| (p.offset..lowest).contains(f)))
                    }
                    None => assert_eq!(p.offset, offset),
                }
                for f in &finished {
                    assert!(*f < p.offset || p.runs.iter().any(|r| (r.0..r.1).contains(f)), "seed {seed}");
                }
                for o in &open {
                    assert!(!p.runs.iter().any(|r| (r.0..r.1).contains(&o.2)), "seed {seed}");
                }
            }
        }
    }
}
