//! Promises of the way from fetcher to reader.

use super::super::budget::Budget;
use super::*;

type Commands = mpsc::UnboundedReceiver<Command>;

fn attach(out: &FetchOut, partition: i32) -> (Arc<Link>, Attached, Commands) {
    let (owner, commands) = mpsc::unbounded_channel();
    let tp = Arc::new(TopicPartition::new("orders", partition));
    let link = Link::new(u64::from(partition.unsigned_abs()), tp, AssignmentEpoch(1), out.clone(), owner.downgrade());
    (link.clone(), Attached::new(link, owner), commands)
}

fn block(link: &Link, next_offset: i64) -> Fetched {
    Fetched {
        tp: link.tp.clone(),
        epoch: link.epoch,
        batches: Vec::new(),
        next_offset,
        high_watermark: 100,
        last_stable: 100,
    }
}

fn next_offset(events: &mut FetchIn) -> Option<i64> {
    match events.try_recv()? {
        FetchEvent::Fetched(f) => Some(f.next_offset),
        FetchEvent::Error(e) => panic!("{e:?}"),
    }
}

#[test]
fn nothing_of_a_dropped_attachment_comes_out_though_it_had_arrived() {
    let (out, mut events) = channel(ReadOptions::default());
    let (link, attached, mut commands) = attach(&out, 0);
    link.deliver(block(&link, 5));
    drop(attached);
    link.deliver(block(&link, 6));
    assert_eq!(next_offset(&mut events), None);
    assert!(matches!(commands.try_recv(), Ok(Command::Nudge(_))), "the source is told");
    assert_eq!(link.state(), LinkState::Detached);
}

#[test]
fn a_paused_partition_keeps_what_arrived_in_order_until_it_resumes() {
    let (out, mut events) = channel(ReadOptions::default());
    let (link, attached, _commands) = attach(&out, 0);
    link.deliver(block(&link, 1));
    link.report(FetchFault::Notice, Error::new(crate::ErrorKind::Broker, "notice"));
    attached.pause();
    link.deliver(block(&link, 2));
    assert!(events.try_recv().is_none());
    attached.resume();
    link.deliver(block(&link, 3));
    assert_eq!(next_offset(&mut events), Some(1));
    assert!(matches!(events.try_recv(), Some(FetchEvent::Error(_))));
    assert_eq!(next_offset(&mut events), Some(3), "blocks without data melt into one");
    assert!(events.try_recv().is_none());
}

#[test]
fn partitions_take_turns() {
    let (out, mut events) = channel(ReadOptions::default());
    let (a, _a, _ca) = attach(&out, 0);
    let (b, _b, _cb) = attach(&out, 1);
    for offset in [1, 2] {
        a.deliver(block(&a, offset));
        a.report(FetchFault::Notice, Error::new(crate::ErrorKind::Broker, "notice"));
    }
    b.deliver(block(&b, 10));
    assert_eq!(next_offset(&mut events), Some(1));
    assert_eq!(next_offset(&mut events), Some(10));
}

#[test]
fn a_reader_that_does_not_read_costs_a_bounded_number_of_events() {
    let (out, _events) = channel(ReadOptions::default());
    let (link, _attached, _commands) = attach(&out, 0);
    for offset in 0..1000 {
        link.deliver(block(&link, offset));
        link.report(FetchFault::Notice, Error::new(crate::ErrorKind::Broker, "notice"));
    }
    assert!(lock(&link.queue).events.len() <= 2 * MAX_NOTICES + 2);
}

#[test]
fn the_source_is_nudged_once_when_a_slow_partition_has_caught_up() {
    let (out, _events) = channel(ReadOptions::default());
    let (link, _attached, mut commands) = attach(&out, 0);
    let charge = Arc::new(Budget::new(1000).charge(300, Arc::default()));
    let frame = || Memory::Frame(link.pin(charge.clone()));
    let (first, second) = (link.lease(100, frame(), &Arc::default()), link.lease(200, frame(), &Arc::default()));
    assert_eq!(link.held(), 300);
    link.nudge_at(150);
    assert!(commands.try_recv().is_err());
    drop(second);
    assert!(matches!(commands.try_recv(), Ok(Command::Nudge(_))));
    drop(first);
    assert!(commands.try_recv().is_err());
}

#[test]
fn a_subscription_that_is_gone_detaches_its_partitions() {
    let (out, events) = channel(ReadOptions::default());
    let (link, _attached, _commands) = attach(&out, 0);
    drop(events);
    link.deliver(block(&link, 5));
    assert_eq!(link.state(), LinkState::Detached);
}
