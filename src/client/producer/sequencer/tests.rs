//! The rules of order and identity, each as a test, and a random walk against an imitation of a broker's log.

use std::time::Duration;

use super::*;
use crate::env::Env;

const ID: Identity = Identity { producer_id: 9, epoch: 0 };
const BUMPED: Identity = Identity { producer_id: 9, epoch: 1 };
const RETRY: Answer = Answer::Retry { maybe_written: false };
const UNKNOWN: Answer = Answer::Retry { maybe_written: true };

struct Bench {
    sequencer: Sequencer<char>,
    now: Instant,
    present: Option<Identity>,
    lost: Vec<char>,
}

impl Bench {
    fn new() -> Self {
        let now = Env::system().now();
        Self { sequencer: Sequencer::new(true, 5), now, present: Some(ID), lost: vec![] }
    }

    /// One batch is written, so that several may be under way.
    fn proven() -> Self {
        let mut bench = Self::new();
        let (ticket, _) = bench.fresh(10);
        bench.settle(ticket, 'p', Answer::Written);
        bench
    }

    fn next(&mut self) -> Next<char> {
        self.sequencer.next(self.now, self.present, &mut self.lost)
    }

    fn fresh(&mut self, count: u32) -> (Ticket, i32) {
        assert_eq!(self.next(), Next::Fresh);
        let (ticket, stamp) = self.sequencer.send(count);
        (ticket, stamp.base_sequence)
    }

    fn again(&mut self) -> (char, Ticket, ProducerStamp, bool) {
        match self.next() {
            Next::Again { ticket, batch, stamp, restamp } => (batch, ticket, stamp, restamp),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, ticket: Ticket, batch: char, answer: Answer) -> Verdict<char> {
        self.sequencer.settle(ticket, batch, answer, None)
    }
}

#[test]
fn sequences_follow_each_other_and_five_batches_may_be_under_way_once_one_is_written() {
    let mut b = Bench::new();
    let (first, sequence) = b.fresh(3);
    assert_eq!(sequence, 0);
    assert_eq!(b.next(), Next::Blocked, "an unproven producer has one batch under way");
    assert_eq!(b.settle(first, 'a', Answer::Written), Verdict::Written('a'));
    for expected in [3, 5, 7, 9, 11] {
        assert_eq!(b.fresh(2).1, expected);
    }
    assert_eq!(b.next(), Next::Blocked);
}

#[test]
fn a_retry_keeps_its_number_and_goes_first_and_alone_until_all_are_answered() {
    let mut b = Bench::proven();
    let (x, sx) = b.fresh(1);
    let (y, sy) = b.fresh(1);
    assert_eq!(b.settle(x, 'x', UNKNOWN), Verdict::Kept);
    assert_eq!(b.next(), Next::Blocked, "the second is still under way, perhaps at another leader");
    assert_eq!(b.settle(y, 'y', Answer::OutOfOrder), Verdict::Kept);
    let (batch, x, stamp, restamp) = b.again();
    assert_eq!((batch, stamp.base_sequence, restamp), ('x', sx, false));
    assert_eq!(b.next(), Next::Blocked, "with more behind it a broker could forget that it has it");
    assert_eq!(b.settle(x, 'x', Answer::Written), Verdict::Written('x'));
    let (batch, y, stamp, restamp) = b.again();
    assert_eq!((batch, stamp.base_sequence, restamp), ('y', sy, false));
    assert_eq!(b.settle(y, 'y', Answer::Written), Verdict::Written('y'));
    assert_eq!(b.fresh(1).1, sy + 1);
}

#[test]
fn a_retry_waits_for_its_time() {
    let mut b = Bench::proven();
    let (x, _) = b.fresh(1);
    let at = b.now + Duration::from_millis(100);
    b.sequencer.settle(x, 'x', RETRY, Some(at));
    assert_eq!(b.next(), Next::NotBefore(at));
    b.now = at;
    assert_eq!(b.again().0, 'x');
}

#[test]
fn out_of_order_on_the_first_bumps_and_renumbers_what_is_known_not_to_be_written() {
    let mut b = Bench::proven();
    let (x, _) = b.fresh(4);
    let (y, _) = b.fresh(2);
    b.settle(x, 'x', Answer::OutOfOrder);
    b.settle(y, 'y', Answer::OutOfOrder);
    assert_eq!(b.next(), Next::NeedsIdentity(Some(ID)));
    b.present = Some(BUMPED);
    let (batch, x, stamp, restamp) = b.again();
    assert_eq!((batch, stamp.base_sequence, stamp.producer_epoch, restamp), ('x', 0, 1, true));
    assert_eq!(b.next(), Next::Blocked, "under the new epoch nothing is proven yet");
    b.settle(x, 'x', Answer::Written);
    let (_, y, stamp, _) = b.again();
    assert_eq!(stamp.base_sequence, 4);
    b.settle(y, 'y', Answer::Written);
    assert_eq!(b.fresh(1).1, 6);
    assert!(b.lost.is_empty());
}

#[test]
fn a_batch_that_may_be_written_is_given_up_at_a_bump_and_never_renumbered() {
    let mut b = Bench::proven();
    let (x, _) = b.fresh(1);
    let (y, _) = b.fresh(1);
    b.settle(x, 'x', UNKNOWN);
    b.settle(y, 'y', RETRY);
    let (_, x, ..) = b.again();
    b.settle(x, 'x', Answer::UnknownProducer);
    b.present = Some(BUMPED);
    let (batch, _, stamp, restamp) = b.again();
    assert_eq!((batch, stamp.base_sequence, restamp), ('y', 0, true));
    assert_eq!(b.lost, ['x']);
}

#[test]
fn a_failed_batch_leaves_no_gap_in_the_numbers() {
    let mut b = Bench::proven();
    let (x, sx) = b.fresh(5);
    let (y, _) = b.fresh(2);
    let failed = Verdict::Failed { batch: 'x', maybe_written: false };
    assert_eq!(b.settle(x, 'x', Answer::Failed { maybe_written: false }), failed);
    b.settle(y, 'y', Answer::OutOfOrder);
    let (batch, y, stamp, restamp) = b.again();
    assert_eq!((batch, stamp.base_sequence, stamp.producer_epoch, restamp), ('y', sx, 0, true));
    b.settle(y, 'y', Answer::Written);
    assert_eq!(b.fresh(1).1, sx + 2);
}

#[test]
fn an_expired_batch_of_unknown_fate_costs_an_epoch_and_one_that_was_refused_does_not() {
    for (answer, maybe_written) in [(UNKNOWN, true), (RETRY, false)] {
        let mut b = Bench::proven();
        let (x, sx) = b.fresh(1);
        b.settle(x, 'x', answer);
        assert_eq!(b.sequencer.expire(|_| true), [('x', maybe_written)]);
        if maybe_written {
            assert_eq!(b.next(), Next::NeedsIdentity(Some(ID)));
            b.present = Some(BUMPED);
            assert_eq!(b.fresh(1).1, 0);
        } else {
            assert_eq!(b.fresh(1).1, sx);
        }
    }
}

#[test]
fn the_pieces_of_a_split_batch_take_its_numbers_and_place() {
    let mut b = Bench::proven();
    let (x, sx) = b.fresh(3);
    let (y, sy) = b.fresh(2);
    assert_eq!(b.settle(x, 'x', Answer::TooLarge), Verdict::Split('x'));
    assert_eq!(b.settle(y, 'y', Answer::OutOfOrder), Verdict::Kept);
    b.sequencer.split(x, vec![(1, '1'), (2, '2')]);
    let sent: Vec<_> = (0..3).map(|_| b.again()).map(|(batch, _, s, _)| (batch, s.base_sequence)).collect();
    assert_eq!(sent, [('1', sx), ('2', sx + 1), ('y', sy)]);
}

#[test]
fn one_record_that_is_too_large_fails() {
    let mut b = Bench::proven();
    let (x, _) = b.fresh(1);
    assert_eq!(b.settle(x, 'x', Answer::TooLarge), Verdict::Failed { batch: 'x', maybe_written: false });
}

#[test]
fn numbers_wrap_to_zero_behind_the_largest() {
    assert_eq!(advance(i32::MAX, 1), 0);
    assert_eq!(advance(i32::MAX - 1, 5), 3);
    assert_eq!(advance(7, 2), 9);
}

#[test]
fn a_producer_without_idempotence_needs_no_identity_and_stamps_none() {
    let mut s = Sequencer::<char>::new(false, 3);
    let now = Env::system().now();
    for _ in 0..3 {
        assert_eq!(s.next(now, None, &mut vec![]), Next::Fresh);
        assert_eq!(s.send(5).1, NO_PRODUCER);
    }
    assert_eq!(s.next(now, None, &mut vec![]), Next::Blocked);
}

/// What a broker keeps of a producer, as `ProducerStateManager` does, and the log.
#[derive(Default)]
pub(in crate::client::producer) struct Log {
    state: Option<(i16, Vec<(i32, i32)>)>,
    pub(in crate::client::producer) records: Vec<usize>,
}

impl Log {
    pub(in crate::client::producer) fn append(&mut self, stamp: ProducerStamp, records: &[usize]) -> Answer {
        let first = stamp.base_sequence;
        let last = advance(first, records.len() as u32 - 1);
        if let Some((epoch, batches)) = &self.state {
            if stamp.producer_epoch < *epoch {
                return Answer::UnknownProducer;
            }
            if stamp.producer_epoch == *epoch {
                if batches.contains(&(first, last)) {
                    return Answer::Written;
                }
                if batches.last().is_some_and(|&(_, l)| advance(l, 1) != first) {
                    return Answer::OutOfOrder;
                }
            } else if first != 0 {
                return Answer::OutOfOrder;
            }
        }
        let state = self.state.get_or_insert((stamp.producer_epoch, vec![]));
        if state.0 != stamp.producer_epoch {
            *state = (stamp.producer_epoch, vec![]);
        }
        state.1.push((first, last));
        if state.1.len() > 5 {
            state.1.remove(0);
        }
        self.records.extend_from_slice(records);
        Answer::Written
    }
}

#[test]
fn whatever_fails_the_log_holds_each_message_once_and_in_order() {
    for seed in 0..3000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Env::system().now();
        let mut s = Sequencer::<Vec<usize>>::new(true, 5);
        let mut log = Log::default();
        let mut present = ID;
        let (mut made, mut acked, mut failed, mut maybe) = (0, vec![], vec![], vec![]);
        // Batches under way at the broker, in the order of one connection.
        let mut wire: VecDeque<(Ticket, Vec<usize>, ProducerStamp)> = VecDeque::new();
        let mut calm = false;
        for step in 0..500 {
            if step == 300 {
                calm = true;
            }
            let mut lost = vec![];
            if rng.bool() || wire.is_empty() {
                match s.next(now, Some(present), &mut lost) {
                    Next::Fresh if made < 200 && !calm => {
                        let count = rng.usize(1..4);
                        let records: Vec<_> = (made..made + count).collect();
                        made += count;
                        let (ticket, stamp) = s.send(count as u32);
                        wire.push_back((ticket, records, stamp));
                    }
                    Next::Again { ticket, batch, stamp, .. } => wire.push_back((ticket, batch, stamp)),
                    Next::NeedsIdentity(_) => present.epoch += 1,
                    _ => {}
                }
            } else if let Some((ticket, records, stamp)) = wire.pop_front() {
                let fault = if calm { 100 } else { rng.u32(0..100) };
                let answer = match fault {
                    0..10 => RETRY,
                    10..15 => UNKNOWN, // lost on the way there
                    15..25 => {
                        log.append(stamp, &records);
                        UNKNOWN
                    } // lost on the way back
                    25..27 => Answer::Failed { maybe_written: false },
                    27..29 => {
                        log.append(stamp, &records);
                        Answer::Failed { maybe_written: true }
                    }
                    29..32 => Answer::TooLarge,
                    _ => log.append(stamp, &records),
                };
                match s.settle(ticket, records, answer, None) {
                    Verdict::Written(records) => acked.extend(records),
                    Verdict::Kept => {}
                    Verdict::Failed { batch, maybe_written: true } => maybe.extend(batch),
                    Verdict::Failed { batch, maybe_written: false } => failed.extend(batch),
                    Verdict::Split(records) => {
                        let (a, b) = records.split_at(1);
                        s.split(ticket, vec![(1, a.to_vec()), (b.len() as u32, b.to_vec())]);
                    }
                }
                if !calm && rng.u32(0..50) == 0 {
                    for (records, maybe_written) in s.expire(|_| true) {
                        if maybe_written { maybe.extend(records) } else { failed.extend(records) }
                    }
                }
            }
            maybe.extend(lost.into_iter().flatten());
        }
        assert!(log.records.is_sorted_by(|a, b| a < b), "seed {seed}: twice or out of order: {:?}", log.records);
        assert!(acked.iter().all(|r| log.records.binary_search(r).is_ok()), "seed {seed}: an acknowledged one is lost");
        assert!(
            failed.iter().all(|r| log.records.binary_search(r).is_err()),
            "seed {seed}: NotWritten, but in the log"
        );
        assert!(s.is_empty() && wire.is_empty(), "seed {seed}: something hangs");
        assert_eq!(acked.len() + failed.len() + maybe.len(), made, "seed {seed}");
    }
}
