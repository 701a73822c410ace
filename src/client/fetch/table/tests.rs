//! Promises of a source's partitions, against answers as brokers give them.

use tokio::sync::mpsc;

use super::super::delivery::{Attached, FetchEvent, FetchIn, OnBadBatch, ReadOptions, channel};
use super::super::testing::{concat, corrupted, data, marker};
use super::*;
use crate::client::retry::{Backoff, BackoffConfig};
use crate::client::types::{AssignmentEpoch, Position, TopicId, TopicPartition};
use crate::wire::Records;
use crate::wire::messages::fetch::{AbortedTransaction, TopicResponse};

const ID: TopicId = TopicId([7; 16]);
const BACKOFF: BackoffConfig = BackoffConfig { first: Duration::from_millis(100), max: Duration::from_secs(1) };

struct Sim {
    table: Table,
    now: Instant,
    rng: fastrand::Rng,
    links: Vec<(Arc<Link>, Option<Attached>)>,
    events: FetchIn,
    commands: mpsc::UnboundedReceiver<super::super::fetcher::Command>,
}

impl Sim {
    /// Partitions of one topic, all at offset 0, planned and answered once.
    #[allow(clippy::disallowed_methods, reason = "a starting point for virtual time")]
    fn new(partitions: i32, budget: usize) -> Self {
        let (out, events) =
            channel(ReadOptions { isolation: Isolation::ReadCommitted, on_bad_batch: OnBadBatch::Stop });
        let (owner, commands) = mpsc::unbounded_channel();
        let table = Table::new(Isolation::ReadCommitted, Budget::new(budget), 1 << 20);
        let mut sim =
            Self { table, now: Instant::now(), rng: fastrand::Rng::with_seed(1), links: Vec::new(), events, commands };
        for partition in 0..partitions {
            let tp = Arc::new(TopicPartition::new("orders", partition));
            let link = Link::new(partition as u64, tp, AssignmentEpoch(1), out.clone(), owner.downgrade());
            sim.links.push((link.clone(), Some(Attached::new(link.clone(), owner.clone()))));
            let reading = Reading {
                link,
                position: Position { offset: 0, leader_epoch: -1, topic_id: ID },
                leader_epoch: 5,
                max_bytes: 1 << 16,
                backoff: Backoff::new(BACKOFF),
                not_before: None,
                slot: None,
                refused: false,
            };
            sim.table.insert(reading, sim.now);
        }
        sim.table.plan();
        sim.answer(vec![]);
        sim
    }

    fn answer(&mut self, partitions: Vec<PartitionData>) -> Answered {
        let topic = TopicResponse { topic_id: ID, partitions, ..Default::default() };
        let response = FetchResponse { session_id: 9, responses: vec![topic], ..Default::default() };
        self.table.answer(response, self.now, &mut self.rng)
    }

    /// What the next request names: (partition, offset, last fetched epoch).
    fn named(&mut self) -> Vec<(i32, i64, i32)> {
        let plan = self.table.plan();
        plan.topics.iter().flat_map(|t| &t.partitions).map(|(p, w)| (*p, w.offset, w.last_fetched_epoch)).collect()
    }

    fn forgotten(&mut self) -> Vec<i32> {
        self.table.plan().forgotten.iter().flat_map(|t| t.partitions.clone()).collect()
    }

    fn notice(&mut self) -> String {
        match self.events.try_recv() {
            Some(FetchEvent::Error(e)) => e.error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn partition(index: i32, batches: &[Vec<u8>]) -> PartitionData {
    PartitionData {
        partition_index: index,
        high_watermark: 1000,
        last_stable_offset: 1000,
        records: Some(Records::from(concat(batches))),
        ..Default::default()
    }
}

fn error(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData { partition_index: index, error_code: code, ..Default::default() }
}

#[test]
fn the_next_fetch_asks_behind_what_came_before_it_is_opened() {
    let mut sim = Sim::new(2, 1 << 20);
    let answered = sim.answer(vec![partition(1, &[data(0, 10, -1)])]);
    assert_eq!((answered.work.len(), answered.work[0].scan.kept.len()), (1, 1));
    assert_eq!(sim.named(), [(1, 10, 5)], "only what changed is named");
    sim.answer(vec![]);
    assert_eq!(sim.named(), []);
}

#[test]
fn offsets_that_are_not_data_advance_the_position() {
    let mut sim = Sim::new(1, 1 << 20);
    let mut answer = partition(0, &[data(0, 2, 1), marker(2, 1, false)]);
    answer.aborted_transactions = Some(vec![AbortedTransaction { producer_id: 1, first_offset: 0 }]);
    let answered = sim.answer(vec![answer]);
    assert_eq!((answered.work[0].scan.kept.len(), answered.work[0].scan.next_offset), (0, 3));
    assert_eq!(sim.named(), [(0, 3, 5)]);
}

#[test]
fn the_same_partition_twice_and_one_never_asked_for_do_no_harm() {
    let mut sim = Sim::new(1, 1 << 20);
    let twice = || partition(0, &[data(0, 5, -1)]);
    let answered = sim.answer(vec![twice(), twice(), partition(77, &[data(0, 5, -1)])]);
    assert_eq!(answered.work.len(), 1);
    assert_eq!(sim.named(), [(0, 5, 5)]);
}

#[test]
fn an_answer_that_crosses_a_pause_is_not_used_and_the_data_come_again_on_resume() {
    let mut sim = Sim::new(1, 1 << 20);
    let attached = sim.links[0].1.take().unwrap();
    attached.pause();
    sim.table.refresh(0, sim.now);
    assert!(sim.table.is_idle());
    assert!(sim.answer(vec![partition(0, &[data(0, 5, -1)])]).work.is_empty());
    assert_eq!(sim.forgotten(), [0]);
    sim.answer(vec![]);
    attached.resume();
    sim.table.refresh(0, sim.now);
    assert_eq!(sim.named(), [(0, 0, -1)]);
}

#[test]
fn a_detached_partition_is_forgotten_and_its_answer_dropped() {
    let mut sim = Sim::new(2, 1 << 20);
    sim.links[0].1 = None;
    sim.table.refresh(0, sim.now);
    assert!(sim.answer(vec![partition(0, &[data(0, 5, -1)])]).work.is_empty());
    assert_eq!(sim.forgotten(), [0]);
    assert!(sim.table.remove(0).is_none());
}

#[test]
fn a_slow_partition_is_paused_and_the_others_go_on() {
    let mut sim = Sim::new(2, 8_000);
    let charge = Arc::new(sim.table.budget.try_reserve(1, 6_000).unwrap().settle(6_000));
    let slow = sim.links[0].0.lease(5_000, Memory::Frame(sim.links[0].0.pin(charge)), &Arc::default());
    sim.answer(vec![partition(0, &[data(0, 1, -1)]), partition(1, &[data(0, 1, -1)])]);
    let plan = sim.table.plan();
    assert_eq!((plan.topics[0].partitions.len(), plan.topics[0].partitions[0].0), (1, 1));
    assert_eq!(plan.forgotten[0].partitions, [0]);
    sim.answer(vec![]);
    drop(slow);
    sim.table.refresh(0, sim.now);
    assert_eq!(sim.named(), [(0, 1, 5)]);
}

#[test]
fn a_reader_without_anything_unread_is_hungry_whatever_it_keeps() {
    let mut sim = Sim::new(2, 1 << 20);
    assert_eq!(sim.table.unread(), 0);
    let first = sim.answer(vec![partition(0, &[data(0, 1, -1)])]);
    assert_eq!(sim.table.unread(), 0, "the other has nothing");
    let both = sim.answer(vec![partition(1, &[data(0, 1, -1)])]);
    assert_eq!(sim.table.unread(), sim.links.iter().map(|(link, _)| link.held()).sum::<i64>());
    sim.table.tell_when_hungry();
    assert!(sim.commands.try_recv().is_err());
    first.work[0].hold.read();
    assert!(sim.commands.try_recv().is_ok());
    assert_eq!(sim.table.unread(), 0);
    assert!(sim.links[0].0.held() > 0);
    sim.table.refresh(0, sim.now);
    drop(both);
    assert!(sim.commands.try_recv().is_ok());
}

#[test]
fn a_retriable_error_waits_and_tries_the_same_broker_again() {
    let mut sim = Sim::new(2, 1 << 20);
    let answered = sim.answer(vec![error(0, ErrorCode::UNKNOWN_LEADER_EPOCH)]);
    assert!(answered.given_back.is_empty());
    assert_eq!(sim.forgotten(), [0], "else the broker would answer with the error at once, for ever");
    sim.answer(vec![]);
    let wake = sim.table.next_wake().unwrap();
    assert!(wake > sim.now && wake <= sim.now + Duration::from_millis(120));
    sim.now = wake;
    sim.table.wake(sim.now);
    assert_eq!(sim.named(), [(0, 0, -1)]);
    assert_eq!(sim.table.next_wake(), None);
}

#[test]
fn a_partition_that_moved_or_is_out_of_range_is_given_back() {
    let mut sim = Sim::new(2, 1 << 20);
    let mut moved = error(0, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    (moved.current_leader.leader_id, moved.current_leader.leader_epoch) = (3, 6);
    let answered = sim.answer(vec![moved, error(1, ErrorCode::OFFSET_OUT_OF_RANGE)]);
    let troubles: Vec<_> = answered.given_back.iter().map(|(r, t)| (r.link.id(), *t)).collect();
    assert_eq!(troubles, [(0, Trouble::Moved { stale: true }), (1, Trouble::OutOfRange)]);
    assert_eq!((answered.leaders[0].leader, answered.leaders[0].leader_epoch), (3, 6));
    assert!(sim.table.is_idle());
}

#[test]
fn a_diverging_epoch_goes_back_to_where_the_logs_part_and_says_so() {
    let mut sim = Sim::new(1, 1 << 20);
    sim.answer(vec![partition(0, &[data(0, 10, -1)])]);
    sim.named();
    let mut diverging = error(0, ErrorCode::NONE);
    (diverging.diverging_epoch.epoch, diverging.diverging_epoch.end_offset) = (4, 6);
    sim.answer(vec![diverging]);
    assert_eq!(sim.named(), [(0, 6, 4)]);
    assert!(sim.notice().contains("orders-0: the log was truncated to 6 below offset 10"));
}

#[test]
fn a_bad_batch_stops_its_partition_and_names_topic_partition_and_offset() {
    let mut sim = Sim::new(2, 1 << 20);
    let answered = sim.answer(vec![partition(0, &[data(0, 3, -1), corrupted(marker(3, 1, true))])]);
    assert_eq!(answered.work[0].scan.bad.as_ref().unwrap().offset, 3);
    assert_eq!(sim.forgotten(), [0]);
    report_bad(&answered.work[0].link, answered.work[0].scan.bad.as_ref().unwrap());
    let said = sim.notice();
    assert!(said.contains("orders-0 at offset 3") && said.contains("CRC"), "{said}");
}

#[test]
fn a_batch_that_does_not_fit_raises_the_limit_of_its_partition_up_to_the_cap() {
    let mut sim = Sim::new(1, 1 << 20);
    for expected in [1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 20] {
        sim.answer(vec![partition(0, &[])]);
        assert_eq!(sim.table.readings[&0].max_bytes, expected);
        sim.named();
    }
}

#[test]
fn a_refusal_is_said_once_and_tried_again() {
    let mut sim = Sim::new(1, 1 << 20);
    for _ in 0..3 {
        sim.answer(vec![error(0, ErrorCode::TOPIC_AUTHORIZATION_FAILED)]);
        assert_eq!(sim.forgotten(), [0]);
        sim.answer(vec![]);
        sim.now = sim.table.next_wake().unwrap();
        sim.table.wake(sim.now);
        assert_eq!(sim.named(), [(0, 0, -1)]);
    }
    assert!(sim.notice().contains("TOPIC_AUTHORIZATION_FAILED"));
    assert!(sim.events.try_recv().is_none());
}

#[test]
fn waits_at_the_broker_grow_while_nothing_changes() {
    let longest = Duration::from_millis(500);
    let waits: Vec<_> = (0..8).map(|q| max_wait(q, longest).as_millis()).collect();
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 500, 500]);
    assert_eq!(max_wait(u32::MAX, longest), longest);
}
