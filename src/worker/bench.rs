//! Entrances for `crate::bench`: what the scheduler, the tracker and the choice of what to commit cost.

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use super::config::Order;
use super::job::Ticket;
use super::metadata::{Finished, LogId, MAX_RUNS};
use super::part::Prepared;
use super::record::{Assignment, Block};
use super::scheduler::{Done, End, Item, Rules, Run, Scheduler, Work};
use super::testkit::{TestBlock, batch_of};
use super::tracker::{Inherited, Offsets, Tracker};
use crate::client::types::{AssignmentEpoch, TopicId, TopicPartition};
use crate::env::lock;

type Prepare = Box<dyn FnMut() -> Box<dyn FnOnce()>>;

/// Records per block and blocks.
const RECORDS: usize = 500;
const BLOCKS: usize = 10;
/// As many as a lane takes at once.
const CHUNK: u32 = 64;

/// One record per key.
fn block(base: i64, key: impl Fn(usize) -> Option<String>) -> Arc<TestBlock> {
    let keys: Vec<_> = (0..RECORDS).map(key).collect();
    Arc::new(TestBlock(batch_of(base, &keys, |_| (0, vec![b'x'; 100]))))
}

/// Name, unit, how many of it, and the work.
pub(crate) fn parts() -> Vec<(String, &'static str, u32, Prepare)> {
    let all = (RECORDS * BLOCKS) as u32;
    let unkeyed: fn(usize) -> Option<String> = |_| None;
    vec![
        ("schedule, no order".into(), "message", all, schedule(Order::None, unkeyed)),
        ("schedule by key, 1,000 keys".into(), "message", all, schedule(Order::Key, |i| Some(format!("k{i}")))),
        ("schedule by key, 10 keys".into(), "message", all, schedule(Order::Key, |i| Some(format!("k{}", i % 10)))),
        ("schedule by partition".into(), "message", all, schedule(Order::Partition, unkeyed)),
        ("track in order".into(), "message", all, track(|i| i)),
        // As handlers of different length end: backwards within every 64.
        ("track out of order".into(), "message", all, track(|i| (i / 64 * 64 + 63 - i % 64).min(RECORDS as u32 - 1))),
        ("commit: what of a partition".into(), "partition", 100, choose(0)),
        ("commit: what, with 100 gaps".into(), "partition", 100, choose(100)),
    ]
}

/// From a fetched batch to the end of all its records, whose handlers do nothing: hand-out in chunks, and what became of
/// them. The lane's part of reading the records is not in it.
fn schedule(order: Order, key: impl Fn(usize) -> Option<String> + Copy + 'static) -> Prepare {
    let rules = Rules { order, lanes: 1, max_held: 10_000, count: None };
    let mut scheduler = Scheduler::new(rules);
    let assignment = Assignment::of(TopicPartition::new("orders", 0), AssignmentEpoch(1), 0, None);
    let id = scheduler.attach(assignment, 0, -1, Inherited::default(), None);
    let state = Arc::new(Mutex::new((scheduler, Work::default())));
    let mut base = 0;
    Box::new(move || {
        let blocks: Vec<_> = (0..BLOCKS).map(|n| block(base + (n * RECORDS) as i64, key)).collect();
        base += (RECORDS * BLOCKS) as i64;
        let (state, end) = (state.clone(), base);
        Box::new(move || {
            let (scheduler, work) = &mut *lock(&state);
            for block in blocks {
                let next = block.batch().header().next_offset();
                let prepared = Prepared::new(block).expect("records").expect("some");
                assert!(scheduler.push(id, vec![prepared], next));
                hand_out(scheduler, work);
            }
            assert_eq!(scheduler.watermark(id), Some(end));
        })
    })
}

/// All there is, a chunk at a time.
fn hand_out(scheduler: &mut Scheduler<TestBlock>, work: &mut Work<TestBlock>) {
    while scheduler.take(CHUNK, work) > 0 {
        while let Some(Run { part, seq, index, count, .. }) = work.runs.pop_front() {
            scheduler.complete(Done { count, ..Ticket { part, seq, index, key: None }.done(End::Finished) });
        }
        while let Some(Item { part, seq, index, key, .. }) = work.items.pop_front() {
            scheduler.complete(Ticket { part, seq, index, key }.done(End::Finished));
        }
    }
}

/// One completion per record.
fn track(place: fn(u32) -> u32) -> Prepare {
    Box::new(move || {
        let mut tracker = Tracker::new(0, -1);
        Box::new(move || {
            for block in 0..BLOCKS as i64 {
                let first = block * RECORDS as i64;
                let end = first + RECORDS as i64;
                let (seq, _) = tracker.push(RECORDS as u32, Offsets::Dense(first), end, 3, &[]);
                for i in 0..RECORDS as u32 {
                    tracker.finish(seq, black_box(place(i)), 1);
                }
                // What a permutation of less than a whole 64 leaves out.
                tracker.finish(seq, 0, RECORDS as u32);
                assert_eq!(tracker.watermark(), end);
            }
        })
    })
}

/// What one partition's part of a commit says, where so many records above the lowest unfinished one have ended.
fn choose(gaps: u32) -> Prepare {
    Box::new(move || {
        let mut tracker = Tracker::new(0, -1);
        let (seq, _) = tracker.push(RECORDS as u32, Offsets::Dense(0), RECORDS as i64, 3, &[]);
        tracker.finish(seq, 0, 10);
        (0..gaps).for_each(|gap| tracker.finish(seq, 20 + 3 * gap, 1));
        let log = LogId::new(Some("cluster"), TopicId([9; 16]));
        Box::new(move || {
            for _ in 0..100 {
                let progress = tracker.progress(MAX_RUNS);
                let finished =
                    Finished { log, base: progress.offset, leader_epoch: progress.runs_epoch, runs: progress.runs };
                black_box(finished.encode());
            }
        })
    })
}
