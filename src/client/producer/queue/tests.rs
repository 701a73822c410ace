//! The queue of one partition under a virtual clock, with a client that only counts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::client::fetch::{Attached, FetchOut};
use crate::client::producer::config::ProducerConfig;
use crate::client::producer::delivery::Ack;
use crate::client::producer::sequencer::Identity;
use crate::client::retry::BackoffConfig;
use crate::client::types::{AssignmentEpoch, Position};
use crate::env::Env;
use crate::error::Result;
use crate::wire::ErrorCode;
use crate::wire::records::{Limits, batches};

#[derive(Default)]
struct Counts(AtomicUsize);

struct Client(Arc<Counts>);

#[async_trait]
impl PartitionClient for Client {
    fn submit(&self, _queue: &Arc<PartitionQueue>) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }

    fn attach(&self, _: Position, _: AssignmentEpoch, _: FetchOut) -> Attached {
        unreachable!("a producer does not read")
    }
}

struct Bench {
    queue: Arc<PartitionQueue>,
    submits: Arc<Counts>,
    env: Env,
}

impl Bench {
    fn new(config: ProducerConfig) -> Self {
        config.check().unwrap();
        let env = Env::system(); // the clock is tokio's, which the test has paused
        let backoff = BackoffConfig { first: Duration::from_millis(100), max: Duration::from_secs(1) };
        let shared = Arc::new(Shared::new(env.clone(), config, backoff));
        let submits = Arc::new(Counts::default());
        let client = Arc::new(Client(submits.clone()));
        let queue = PartitionQueue::new(1, TopicPartition::new("orders", 3), shared.clone(), client);
        if shared.config.idempotent {
            shared.identity.wait(&queue);
            shared.identity.answer(Ok(Identity { producer_id: 7, epoch: 0 }));
        }
        submits.0.store(0, Ordering::SeqCst);
        Self { queue, submits, env }
    }

    fn append(&self, value: &[u8]) -> Delivery {
        let parts = RecordParts { value: Some(value), ..RecordParts::default() };
        assert!(self.queue.shared.budget.try_take(value.len()));
        self.queue.append(&parts, 1000, value.len(), true).unwrap()
    }

    fn take(&self) -> Take {
        self.queue.take(self.env.now(), 1)
    }

    fn batch(&self) -> Taken {
        match self.take() {
            Take::Batch(taken) => taken,
            _ => panic!("nothing to send"),
        }
    }

    fn settle(&self, taken: Taken, outcome: Outcome) {
        self.queue.settle(taken, outcome, self.env.now());
    }

    fn submits(&self) -> usize {
        self.submits.0.swap(0, Ordering::SeqCst)
    }

    /// Lets one batch through, so that more than one may be under way.
    fn prove(&self) {
        let _first = self.append(b"first");
        let taken = self.batch();
        self.settle(taken, written(0));
        assert!(matches!(self.take(), Take::Idle));
        self.submits();
    }
}

fn written(base_offset: i64) -> Outcome {
    Outcome::Written { base_offset: Some(base_offset), log_append_time: None }
}

fn refused(answer: Answer) -> Outcome {
    let error = Error::from_code(ErrorCode::NOT_ENOUGH_REPLICAS, "Produce to orders-3");
    Outcome::Refused { answer, error, retry: Retry::AfterBackoff }
}

fn values(taken: &Taken) -> Vec<Vec<u8>> {
    let bytes = taken.parcel.chunks().concat();
    let batch = batches(bytes.into()).next().unwrap().unwrap().open(&Limits::default()).unwrap();
    let mut at = Default::default();
    let mut out = Vec::new();
    while let Some(view) = batch.next(&mut at).unwrap() {
        out.push(batch.bytes_of(view.value.unwrap()).to_vec());
    }
    out
}

fn sequence(taken: &Taken) -> (i16, i32) {
    let header = *batches(taken.parcel.chunks().concat().into()).next().unwrap().unwrap().header();
    (header.producer_epoch, header.base_sequence)
}

async fn end(delivery: Delivery) -> Result<Ack> {
    assert!(delivery.is_settled(), "not settled");
    delivery.await
}

#[tokio::test(start_paused = true)]
async fn without_linger_a_record_goes_out_at_once_and_the_next_ones_share_a_batch() {
    let b = Bench::new(ProducerConfig::default());
    let a = b.append(b"a");
    assert_eq!(b.submits(), 1);
    let first = b.batch();
    assert_eq!(values(&first), [b"a"]);
    let (c, d) = (b.append(b"c"), b.append(b"d"));
    assert_eq!(b.submits(), 0, "the client looks by itself as long as something is under way");
    assert!(matches!(b.take(), Take::Later(_)));
    b.settle(first, written(40));
    let second = b.batch();
    assert_eq!(values(&second), [b"c", b"d"]);
    b.settle(second, written(41));
    assert_eq!(end(a).await.unwrap().offset, Some(40));
    assert_eq!(end(c).await.unwrap().offset, Some(41));
    assert_eq!(end(d).await.unwrap().offset, Some(42));
    assert!(matches!(b.take(), Take::Idle));
    let _next = b.append(b"e");
    assert_eq!(b.submits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lingering_batch_waits_its_time_unless_it_is_full_or_flushed() {
    let linger = Duration::from_millis(5);
    let b = Bench::new(ProducerConfig { linger, batch_size: 200, ..ProducerConfig::default() });
    let begun = b.env.now();
    let _a = b.append(b"a");
    assert_eq!(b.submits(), 1);
    assert!(matches!(b.take(), Take::Later(at) if at == begun + linger));
    let _b = b.append(b"b");
    assert_eq!(b.submits(), 0);
    tokio::time::advance(linger).await;
    let taken = b.batch();
    assert_eq!(values(&taken).len(), 2);
    b.settle(taken, written(0));

    let _c = b.append(b"c");
    assert!(matches!(b.take(), Take::Later(_)));
    b.submits();
    let _d = b.append(&[0; 150]);
    assert_eq!(b.submits(), 1, "a full batch need not wait");
    let taken = b.batch();
    assert_eq!(values(&taken), [b"c"]);
    b.settle(taken, written(2));
    tokio::time::advance(linger).await;
    let taken = b.batch();
    b.settle(taken, written(3));

    assert!(matches!(b.take(), Take::Idle));
    let _e = b.append(b"e");
    assert!(matches!(b.take(), Take::Later(_)));
    b.submits();
    assert_eq!(b.queue.flush().len(), 1);
    assert_eq!(b.submits(), 1);
    assert_eq!(values(&b.batch()), [b"e"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_ends_as_not_written_and_what_may_have_been_as_maybe_written() {
    let b = Bench::new(ProducerConfig::default());
    b.prove();
    let unknown = b.append(b"unknown");
    let taken = b.batch();
    b.settle(taken, refused(Answer::Retry { maybe_written: true }));
    let queued = b.append(b"queued");
    tokio::time::advance(Duration::from_secs(121)).await;
    assert!(matches!(b.take(), Take::Idle));
    let error = end(unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MaybeWritten);
    assert!(error.to_string().contains("orders-3") && error.to_string().contains("NOT_ENOUGH_REPLICAS"), "{error}");
    assert_eq!(end(queued).await.unwrap_err().kind(), ErrorKind::NotWritten);
    assert_eq!(b.queue.shared.budget.used(), 0);

    // The sequence of the unknown batch is given up together with its epoch.
    let _next = b.append(b"next");
    assert_eq!(sequence(&b.batch()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_always_refused_ends_as_not_written() {
    let b = Bench::new(ProducerConfig::default());
    b.prove();
    let refused_always = b.append(b"x");
    let taken = b.batch();
    assert_eq!(sequence(&taken), (0, 1));
    b.settle(taken, refused(Answer::Retry { maybe_written: false }));
    tokio::time::advance(Duration::from_secs(121)).await;
    assert_eq!(b.queue.expire(b.env.now()), None);
    assert_eq!(end(refused_always).await.unwrap_err().kind(), ErrorKind::NotWritten);
    let _next = b.append(b"next");
    assert_eq!(sequence(&b.batch()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_retry_sends_the_same_bytes_after_a_backoff() {
    let b = Bench::new(ProducerConfig::default());
    let a = b.append(b"a");
    let taken = b.batch();
    let bytes = taken.parcel.chunks();
    b.settle(taken, refused(Answer::Retry { maybe_written: true }));
    let Take::Later(at) = b.take() else { panic!("no backoff") };
    assert!(at - b.env.now() >= Duration::from_millis(80));
    tokio::time::advance(at - b.env.now()).await;
    let taken = b.batch();
    assert_eq!(taken.parcel.chunks(), bytes);
    b.settle(taken, Outcome::Written { base_offset: None, log_append_time: Some(5) });
    let ack = end(a).await.unwrap();
    assert_eq!((ack.offset, ack.timestamp), (None, 5));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_gets_nothing_while_the_old_one_may_still_answer() {
    let b = Bench::new(ProducerConfig::default());
    b.prove();
    let _both = (b.append(b"a"), b.batch());
    let _later = b.append(b"b");
    assert!(matches!(b.queue.take(b.env.now(), 2), Take::Later(_)));
    assert!(matches!(b.queue.take(b.env.now(), 1), Take::Batch(_)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_is_cut_until_only_single_records_fail() {
    let b = Bench::new(ProducerConfig::default());
    b.prove();
    let deliveries: Vec<_> = [b"a", b"b", b"X", b"d"].map(|v| b.append(v)).into();
    let mut log = Vec::new();
    loop {
        match b.take() {
            Take::Batch(taken) if values(&taken).len() > 1 || values(&taken) == [b"X"] => {
                let error = Error::from_code(ErrorCode::MESSAGE_TOO_LARGE, "Produce to orders-3");
                b.settle(taken, Outcome::Refused { answer: Answer::TooLarge, error, retry: Retry::AtOnce });
            }
            Take::Batch(taken) => {
                log.extend(values(&taken));
                assert_eq!(sequence(&taken), (0, log.len() as i32));
                b.settle(taken, written(log.len() as i64));
            }
            _ => break,
        }
    }
    assert_eq!(log, [b"a", b"b", b"d"]);
    let mut ends = Vec::new();
    for delivery in deliveries {
        ends.push(end(delivery).await.map(|ack| ack.offset).map_err(|e| e.kind()));
    }
    assert_eq!(ends, [Ok(Some(1)), Ok(Some(2)), Err(ErrorKind::MessageTooLarge), Ok(Some(3))]);
    assert_eq!(b.queue.shared.budget.used(), 0);
    assert!(b.queue.flush().is_empty());
}

#[tokio::test(start_paused = true)]
async fn closing_fails_what_is_queued_and_leaves_what_is_under_way() {
    let b = Bench::new(ProducerConfig::default());
    let sent = b.append(b"sent");
    let taken = b.batch();
    let queued = b.append(b"queued");
    b.queue.shut(Error::new(ErrorKind::Closed, "closed"));
    assert_eq!(end(queued).await.unwrap_err().kind(), ErrorKind::NotWritten);
    let parts = RecordParts::default();
    assert!(matches!(b.queue.append(&parts, 0, 0, true), Err(Refused::Shut(_))));
    assert!(!sent.is_settled());
    b.settle(taken, written(9));
    assert_eq!(end(sent).await.unwrap().offset, Some(9));
}

#[tokio::test(start_paused = true)]
async fn a_refused_producer_id_fails_the_sends_with_its_reason() {
    let b = Bench::new(ProducerConfig::default());
    let shared = Arc::new(Shared::new(b.env.clone(), ProducerConfig::default(), b.queue.shared.backoff));
    let queue =
        PartitionQueue::new(2, TopicPartition::new("t", 0), shared.clone(), Arc::new(Client(b.submits.clone())));
    let delivery = queue.append(&RecordParts::default(), 0, 0, true).unwrap();
    assert!(matches!(queue.take(b.env.now(), 1), Take::NeedsIdentity(_)));
    assert!(shared.identity.wait(&queue), "the first one has to ask");
    assert!(!shared.identity.wait(&queue));
    b.submits();
    shared.identity.answer(Err(Error::new(ErrorKind::Auth, "turn the option `idempotent` off")));
    assert_eq!(b.submits(), 1);
    assert!(matches!(queue.take(b.env.now(), 1), Take::Idle));
    let error = end(delivery).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotWritten && error.to_string().contains("idempotent"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_idempotence_nothing_is_asked_for_and_five_batches_are_under_way() {
    let b = Bench::new(ProducerConfig { idempotent: false, ..ProducerConfig::default() });
    let mut taken = Vec::new();
    for _ in 0..5 {
        let _sent = b.append(b"x");
        taken.push(b.batch());
        assert_eq!(sequence(&taken[0]), (-1, -1));
    }
    let _sixth = b.append(b"x");
    assert!(matches!(b.take(), Take::Later(_)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_runs_out_of_time_under_way_is_reported_and_keeps_its_number_until_it_is_answered() {
    let bench = Bench::new(ProducerConfig::default());
    bench.prove();
    let late = bench.append(b"late");
    let mut taken = bench.batch();
    taken.give_up();
    assert_eq!(end(late).await.unwrap_err().kind(), ErrorKind::MaybeWritten);
    assert!(bench.queue.flush().is_empty(), "nobody waits for it any more");
    assert_eq!(bench.queue.shared.budget.used(), b"late".len());
    bench.settle(taken, written(1));
    assert_eq!(bench.queue.shared.budget.used(), 0);
    let next = bench.append(b"next");
    let taken = bench.batch();
    assert_eq!(sequence(&taken), (0, 2), "under the same epoch, behind the one that was written after all");
    bench.settle(taken, written(2));
    assert_eq!(end(next).await.unwrap().offset, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_reported_is_not_sent_again() {
    let bench = Bench::new(ProducerConfig::default());
    bench.prove();
    let late = bench.append(b"late");
    let mut taken = bench.batch();
    tokio::time::advance(bench.queue.shared.config.delivery_timeout).await;
    taken.give_up();
    assert_eq!(end(late).await.unwrap_err().kind(), ErrorKind::MaybeWritten);
    bench.settle(taken, refused(Answer::Retry { maybe_written: true }));
    assert!(matches!(bench.take(), Take::Idle));
    assert_eq!(bench.queue.shared.budget.used(), 0);
}
