use std::time::Duration;

use super::*;
use crate::client::types::{AssignmentEpoch, TopicPartition};
use crate::wire::records::Cursor;
use crate::worker::config::Order;
use crate::worker::job::Ticket;
use crate::worker::record::Delayed;
use crate::worker::testkit::TestBlock;

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
                scheduler.complete(Done { count, after, ..Ticket { part: id, seq, index, key }.done(End::Finished) });
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
