//! The whole consumer against a pretended group and log, on one thread under a virtual clock: seeded handler times and
//! failures, revocations and losses at random moments. Invariants C, L, D, O and K are checked from what handlers saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::aftercare::Seams;
use super::config::{ConsumerConfig, Order, StartAt};
use super::consumer::start;
use super::failure::HandlerError;
use super::handle::ConsumerHandle;
use super::metadata::{Finished, LogId};
use super::retry::OnFailure;
use super::seam::{Feed, Guard, Log, Membership};
use super::testkit::{Detached, batch};
use crate::Result;
use crate::client::fetch::{FetchError, FetchEvent, FetchFault, Fetched, FetchedBatch};
use crate::client::types::{AssignmentEpoch, Isolation, OffsetAt, Position, TopicId, TopicPartition};
use crate::env::{Env, lock};
use crate::group::{CommitOffset, Committed, Generation, GroupEvent, RevokeDone};
use crate::wire::ErrorCode;

mod ends_and_starts;
mod follow;
mod retry;
mod revoke;
mod watching;

const TOPIC: &str = "orders";
const ID: TopicId = crate::wire::Uuid([9; 16]);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

impl<T: Send + 'static> Feed<T> for mpsc::UnboundedReceiver<T> {
    async fn recv(&mut self) -> Option<T> {
        self.recv().await
    }
}

/// One run of a handler.
#[derive(Debug, Clone)]
struct Seen {
    member: usize,
    tp: TopicPartition,
    offset: i64,
    key: Option<Vec<u8>>,
    /// Numbers of the start and the end among all starts and ends.
    start: u64,
    end: Option<u64>,
    finished: bool,
}

#[derive(Debug, Default)]
struct World {
    /// Keys of the records, per partition.
    logs: Vec<Vec<Option<String>>>,
    committed: BTreeMap<TopicPartition, Committed>,
    owner: BTreeMap<TopicPartition, usize>,
    seen: Vec<Seen>,
    steps: u64,
    commits: u64,
    /// Commits are not answered while it is set.
    deaf: bool,
    /// Commits with metadata are refused.
    no_metadata: bool,
    topic_id: TopicId,
    /// Partitions whose offsets cannot be found out.
    leaderless: Vec<i32>,
    /// Partitions that answers about ends leave out.
    left_out: Vec<i32>,
    /// Partitions whose committed offset is not to be had.
    unstable: Vec<i32>,
    /// A record may be handled several times in a row.
    retries: bool,
}

impl World {
    /// C: no partition's committed offset is above its lowest record that no handler has finished.
    fn check_commits(&self) {
        for (tp, committed) in &self.committed {
            for offset in 0..committed.offset {
                assert!(self.is_finished(tp, offset), "{tp}: committed {} over {offset}", committed.offset);
            }
        }
    }

    fn is_finished(&self, tp: &TopicPartition, offset: i64) -> bool {
        self.seen.iter().any(|s| s.finished && s.offset == offset && s.tp == *tp)
    }

    /// K: within one member, runs of one key (or partition) follow each other in offset order.
    fn check_order(&self, order: Order) {
        let mut last: BTreeMap<(usize, TopicPartition, Option<Vec<u8>>), &Seen> = BTreeMap::new();
        for seen in &self.seen {
            let key = match order {
                Order::None => return,
                Order::Key if seen.key.is_none() => continue,
                Order::Key => seen.key.clone(),
                Order::Partition => None,
            };
            if let Some(before) = last.insert((seen.member, seen.tp.clone(), key), seen) {
                assert!(before.end.is_some_and(|end| end < seen.start), "{before:?} overlaps {seen:?}");
                let again = self.retries && before.offset == seen.offset;
                assert!(again || before.offset < seen.offset, "{before:?} came before {seen:?}");
            }
        }
    }

    fn handled(&self, tp: &TopicPartition, offset: i64) -> usize {
        self.seen.iter().filter(|s| s.offset == offset && s.tp == *tp).count()
    }
}

type Shared = Arc<Mutex<World>>;

struct FakeGroup {
    world: Shared,
    member: usize,
}

#[async_trait]
impl Membership for FakeGroup {
    #[allow(clippy::disallowed_methods)] // It has no env, and the runtime's clock is the virtual one.
    async fn commit(&self, offsets: Vec<(TopicPartition, CommitOffset)>) -> Result<Vec<(TopicPartition, ErrorCode)>> {
        tokio::task::yield_now().await;
        if lock(&self.world).deaf {
            std::future::pending::<()>().await;
        }
        let mut world = lock(&self.world);
        world.commits += 1;
        let mut answer = Vec::new();
        for (tp, CommitOffset { offset, leader_epoch, metadata }) in offsets {
            let code = if world.no_metadata && !metadata.is_empty() {
                ErrorCode::OFFSET_METADATA_TOO_LARGE
            } else if world.owner.get(&tp) == Some(&self.member) {
                world.committed.insert(tp.clone(), Committed { offset, leader_epoch, metadata });
                ErrorCode::NONE
            } else {
                ErrorCode::ILLEGAL_GENERATION
            };
            answer.push((tp, code));
        }
        world.check_commits();
        Ok(answer)
    }

    async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Result<Option<Committed>>)>> {
        let world = lock(&self.world);
        let answer = |tp: &TopicPartition| match world.unstable.contains(&tp.partition) {
            true => Err(crate::Error::from_code(ErrorCode::UNSTABLE_OFFSET_COMMIT, "OffsetFetch")),
            false => Ok(world.committed.get(tp).cloned()),
        };
        Ok(partitions.iter().map(|tp| (tp.clone(), answer(tp))).collect())
    }

    async fn leave(&self) {}
}

struct FakeLog {
    world: Shared,
    feed: mpsc::UnboundedSender<FetchEvent>,
    /// Records per batch.
    batch: usize,
}

#[async_trait]
impl Log for FakeLog {
    fn attach(&self, tp: &TopicPartition, from: Position, epoch: AssignmentEpoch) -> Guard {
        let keys = lock(&self.world).logs[tp.partition as usize].clone();
        let shared_tp = Arc::new(tp.clone());
        for (i, chunk) in keys.chunks(self.batch).enumerate() {
            let base = (i * self.batch) as i64;
            let next_offset = base + chunk.len() as i64;
            if next_offset <= from.offset {
                continue;
            }
            let batch = batch(base, chunk);
            let start = batch.seek(from.offset).expect("records");
            let count = chunk.len() as u32 - start.index;
            let block = FetchedBatch { tp: shared_tp.clone(), epoch, batch, start, count, lease: Default::default() };
            let _ = self.feed.send(FetchEvent::Fetched(Fetched {
                tp: shared_tp.clone(),
                epoch,
                batches: vec![Arc::new(block)],
                next_offset,
                high_watermark: keys.len() as i64,
                last_stable: keys.len() as i64,
            }));
        }
        Box::new(Detached)
    }

    fn topic_id(&self, _: &str) -> TopicId {
        lock(&self.world).topic_id
    }

    fn cluster_tag(&self) -> u32 {
        1
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        _: Isolation,
        _: Duration,
    ) -> Result<Vec<(TopicPartition, Result<Option<i64>>)>> {
        let world = lock(&self.world);
        let of = |tp: &TopicPartition| match at {
            OffsetAt::Latest => Some(world.logs[tp.partition as usize].len() as i64),
            OffsetAt::Earliest => Some(0),
            // Record n is of the time n.
            OffsetAt::Timestamp(ms) => Some(ms.max(0)).filter(|n| *n < world.logs[tp.partition as usize].len() as i64),
        };
        let answer = |tp: &TopicPartition| match world.leaderless.contains(&tp.partition) {
            true => Err(crate::Error::new(crate::ErrorKind::Connection, "no leader")),
            false => Ok(of(tp)),
        };
        let left_out = |tp: &&TopicPartition| at == OffsetAt::Latest && world.left_out.contains(&tp.partition);
        Ok(partitions.iter().filter(|tp| !left_out(tp)).map(|tp| (tp.clone(), answer(tp))).collect())
    }

    async fn epoch_end(&self, tp: &TopicPartition, _: i32, _: Duration) -> Result<Option<i64>> {
        Ok(Some(lock(&self.world).logs[tp.partition as usize].len() as i64))
    }
}

struct Member {
    number: usize,
    feed: Option<mpsc::UnboundedSender<FetchEvent>>,
    handle: ConsumerHandle,
    events: mpsc::UnboundedSender<GroupEvent>,
}

/// What handlers do.
#[derive(Clone, Copy)]
struct Behaviour {
    max_ms: u64,
    /// Of a hundred handlers.
    fail: u32,
    panic: u32,
}

fn member(world: &Shared, env: &Env, number: usize, config: &ConsumerConfig, behaviour: Behaviour) -> Member {
    let (seen_by, handler_env) = (world.clone(), env.clone());
    let on_failure = config.on_failure.clone();
    let handler = move |record: super::Record<FetchedBatch>| {
        let (world, env, skips) = (seen_by.clone(), handler_env.clone(), on_failure == OnFailure::Skip);
        async move {
            let index = seen(&world, number, &record);
            let (wait, luck) = env.random(|rng| (rng.u64(0..=behaviour.max_ms), rng.u32(0..100)));
            // A third is ready at once.
            if wait % 3 != 0 {
                env.sleep(Duration::from_millis(wait)).await;
            }
            let ok = luck >= behaviour.fail + behaviour.panic;
            ended(&world, index, ok || skips);
            assert!(luck >= behaviour.panic, "as told");
            if ok { Ok(()) } else { Err(HandlerError::new("as told")) }
        }
    };
    member_with(world, env, number, config, handler)
}

/// A member with a handler of the test's own.
fn member_with<H, Fut>(world: &Shared, env: &Env, number: usize, config: &ConsumerConfig, handler: H) -> Member
where
    H: Fn(super::Record<FetchedBatch>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    member_tended(world, env, number, config, Seams::default(), handler)
}

/// A member whose records are looked after.
fn member_tended<H, Fut>(
    world: &Shared,
    env: &Env,
    number: usize,
    config: &ConsumerConfig,
    seams: Seams,
    handler: H,
) -> Member
where
    H: Fn(super::Record<FetchedBatch>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (events, events_in) = mpsc::unbounded_channel();
    let (feed, feed_in) = mpsc::unbounded_channel();
    let errors = feed.clone();
    let group = Arc::new(FakeGroup { world: world.clone(), member: number });
    let log = Arc::new(FakeLog { world: world.clone(), feed, batch: 7 });
    let handle = start(env.clone(), (group, events_in), (log, feed_in), config.clone(), seams, handler);
    Member { number, feed: Some(errors), handle, events }
}

/// Notes that a handler started; returns the run's number.
fn seen(world: &Shared, member: usize, record: &super::Record<FetchedBatch>) -> usize {
    let offset = record.offset();
    assert_eq!(record.value(), Some(offset.to_string().as_bytes()));
    let mut world = lock(world);
    world.steps += 1;
    let (tp, key) = (record.topic_partition().clone(), record.key().map(<[u8]>::to_vec));
    let seen = Seen { member, tp, offset, key, start: world.steps, end: None, finished: false };
    world.seen.push(seen);
    world.seen.len() - 1
}

/// Notes that it ended.
fn ended(world: &Shared, index: usize, finished: bool) {
    let mut world = lock(world);
    world.steps += 1;
    world.seen[index].end = Some(world.steps);
    world.seen[index].finished = finished;
}

impl Member {
    fn assign(&self, world: &Shared, partitions: &[i32]) {
        let partitions: Vec<_> = partitions.iter().map(|p| tp(*p)).collect();
        let mut world = lock(world);
        for tp in &partitions {
            world.owner.insert(tp.clone(), self.number);
        }
        let generation = Generation { id: 1, member_id: "m".into() };
        let _ = self.events.send(GroupEvent::Assigned { partitions, generation });
    }

    /// Begins a revocation; its answer arrives at what is returned.
    fn begin_revoke(&self, env: &Env, partitions: &[i32], within: Duration) -> oneshot::Receiver<()> {
        let partitions = partitions.iter().map(|p| tp(*p)).collect();
        let (done, answered) = RevokeDone::pair();
        let _ = self.events.send(GroupEvent::Revoke { partitions, deadline: env.now() + within, done });
        answered
    }

    async fn revoke(&self, env: &Env, partitions: &[i32], within: Duration) {
        let answered = self.begin_revoke(env, partitions, within);
        let answer = env.timeout(within + Duration::from_secs(1), answered).await;
        assert!(answer.is_some(), "a revocation is answered by its deadline");
    }

    fn lose(&self, partitions: &[i32]) {
        let _ = self.events.send(GroupEvent::Lost { partitions: partitions.iter().map(|p| tp(*p)).collect() });
    }
}

struct NoDial;

#[async_trait]
impl crate::env::Dial for NoDial {
    async fn dial(&self, _: &str, _: u16) -> std::io::Result<crate::env::Transport> {
        Err(std::io::Error::other("no network here"))
    }
}

fn world(partitions: usize, records: usize, keys: u32, rng: &mut fastrand::Rng) -> Shared {
    let mut key = |_| match rng.u32(0..=keys) {
        0 => None,
        k => Some(format!("key-{k}")),
    };
    let logs = (0..partitions).map(|_| (0..records).map(&mut key).collect()).collect();
    Arc::new(Mutex::new(World { logs, topic_id: ID, ..World::default() }))
}

fn simulate(test: impl AsyncFnOnce(Env, fastrand::Rng), seed: u64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let env = Env::simulated(seed, NoDial);
        test(env, fastrand::Rng::with_seed(seed)).await;
    });
}

const ORDERS: [Order; 3] = [Order::None, Order::Key, Order::Partition];

fn config(order: Order, concurrency: usize) -> ConsumerConfig {
    ConsumerConfig { concurrency, order: Some(order), lanes: Some(2), ..ConsumerConfig::default() }
}

/// Waits until all records were seen finished, or the limit.
async fn all_finished(env: &Env, world: &Shared, partitions: usize, records: usize) {
    for _ in 0..10_000 {
        let done: BTreeSet<_> =
            lock(world).seen.iter().filter(|s| s.finished).map(|s| (s.tp.clone(), s.offset)).collect();
        if done.len() == partitions * records {
            return;
        }
        env.sleep(Duration::from_millis(20)).await;
    }
    panic!("not all records were handled");
}

#[test]
fn clean_hand_overs_lose_nothing_repeat_nothing_and_keep_the_order() {
    for seed in 0..60 {
        let order = ORDERS[seed as usize % 3];
        simulate(
            async |env, mut rng| {
                let (partitions, records) = (4, 60);
                let world = world(partitions, records, 6, &mut rng);
                let config = config(order, rng.usize(1..12));
                let behaviour = Behaviour { max_ms: 30, fail: 3, panic: 1 };
                let members: Vec<_> = (0..2).map(|n| member(&world, &env, n, &config, behaviour)).collect();
                let mut owner = [0usize; 4];
                members[0].assign(&world, &[0, 1, 2, 3]);
                for _ in 0..rng.u32(2..9) {
                    env.sleep(Duration::from_millis(rng.u64(0..120))).await;
                    let moved: Vec<i32> = (0..4).filter(|_| rng.bool()).collect();
                    for m in &members {
                        let theirs: Vec<i32> =
                            moved.iter().copied().filter(|p| owner[*p as usize] == m.number).collect();
                        m.revoke(&env, &theirs, Duration::from_secs(20)).await;
                    }
                    for p in moved {
                        owner[p as usize] = rng.usize(0..2);
                        members[owner[p as usize]].assign(&world, &[p]);
                    }
                }
                all_finished(&env, &world, partitions, records).await;
                for m in &members {
                    assert_eq!(m.handle.stop().await.map(|e| e.left).expect("clean"), 0, "seed {seed}");
                }
                let world = lock(&world);
                world.check_order(order);
                for p in 0..4 {
                    assert_eq!(world.committed[&tp(p)].offset, records as i64, "seed {seed}");
                    for offset in 0..records as i64 {
                        assert_eq!(world.handled(&tp(p), offset), 1, "D: seed {seed} {} {offset}", tp(p));
                    }
                }
            },
            seed,
        );
    }
}

#[test]
fn losses_and_late_handlers_repeat_some_but_lose_none() {
    for seed in 1_000..1_060 {
        let order = ORDERS[seed as usize % 3];
        simulate(
            async |env, mut rng| {
                let (partitions, records) = (2, 50);
                let world = world(partitions, records, 4, &mut rng);
                let config =
                    ConsumerConfig { drain_timeout: Duration::from_millis(15), ..config(order, rng.usize(1..9)) };
                let behaviour = Behaviour { max_ms: 60, fail: 5, panic: 0 };
                let members: Vec<_> = (0..2).map(|n| member(&world, &env, n, &config, behaviour)).collect();
                let mut owner = 0;
                members[0].assign(&world, &[0, 1]);
                for _ in 0..rng.u32(2..9) {
                    env.sleep(Duration::from_millis(rng.u64(0..200))).await;
                    if rng.bool() {
                        // Shorter than handlers take: late completions must count for nothing (O).
                        members[owner].revoke(&env, &[0, 1], Duration::from_millis(rng.u64(1..80))).await;
                    } else {
                        members[owner].lose(&[0, 1]);
                    }
                    owner = rng.usize(0..2);
                    members[owner].assign(&world, &[0, 1]);
                }
                all_finished(&env, &world, partitions, records).await;
                // The last owner may be handling some of them again.
                env.sleep(Duration::from_secs(10)).await;
                members[owner].handle.stop().await.expect("clean");
                let world = lock(&world);
                for p in 0..2 {
                    assert_eq!(world.committed[&tp(p)].offset, records as i64, "seed {seed}");
                }
            },
            seed,
        );
    }
}

#[test]
fn held_records_are_never_passed_and_exactly_they_come_again() {
    for seed in 2_000..2_040 {
        let order = ORDERS[seed as usize % 3];
        simulate(
            async |env, mut rng| {
                let world = world(3, 80, 5, &mut rng);
                let config = ConsumerConfig { on_failure: OnFailure::Hold, until_end: true, ..config(order, 8) };
                let first = member(&world, &env, 0, &config, Behaviour { max_ms: 10, fail: 10, panic: 2 });
                first.assign(&world, &[0, 1, 2]);
                first.handle.join().await.expect("until_end");
                let failed: Vec<_> = {
                    let world = lock(&world);
                    world.seen.iter().filter(|s| !s.finished).map(|s| (s.tp.clone(), s.offset)).collect()
                };
                assert_eq!(lock(&world).seen.len(), 240);
                let second = member(&world, &env, 1, &config, Behaviour { max_ms: 10, fail: 0, panic: 0 });
                second.assign(&world, &[0, 1, 2]);
                second.handle.join().await.expect("until_end");
                let world = lock(&world);
                let again: std::collections::BTreeSet<_> =
                    world.seen[240..].iter().map(|s| (s.tp.clone(), s.offset)).collect();
                assert_eq!(again, failed.into_iter().collect(), "seed {seed}");
                assert!((0..3).all(|p| world.committed[&tp(p)].offset == 80));
            },
            seed,
        );
    }
}

#[test]
fn stop_on_failure_commits_what_came_before_and_nothing_at_or_past_it() {
    for seed in 3_000..3_030 {
        simulate(
            async |env, mut rng| {
                let world = world(2, 60, 5, &mut rng);
                let order = ORDERS[seed as usize % 3];
                let config = ConsumerConfig { on_failure: OnFailure::Stop, ..config(order, 6) };
                let m = member(&world, &env, 0, &config, Behaviour { max_ms: 10, fail: 4, panic: 0 });
                m.assign(&world, &[0, 1]);
                let error = m.handle.join().await.expect_err("some handler fails");
                assert_eq!(error.kind(), crate::ErrorKind::Handler);
                let world = lock(&world);
                assert!(world.seen.iter().all(|s| s.end.is_some()), "running handlers finish");
                for p in 0..2 {
                    let lowest = (0..60).find(|o| !world.is_finished(&tp(p), *o)).unwrap_or(60);
                    assert_eq!(world.committed.get(&tp(p)).map_or(0, |c| c.offset), lowest, "seed {seed}");
                }
            },
            seed,
        );
    }
}

#[test]
fn a_count_hands_out_no_record_more_and_commits_them_all() {
    for seed in 4_000..4_030 {
        simulate(
            async |env, mut rng| {
                let world = world(3, 50, 5, &mut rng);
                let count = rng.u64(1..100);
                let order = ORDERS[seed as usize % 3];
                let config = ConsumerConfig { count: Some(count), ..config(order, 5) };
                let m = member(&world, &env, 0, &config, Behaviour { max_ms: 10, fail: 10, panic: 0 });
                m.assign(&world, &[0, 1, 2]);
                m.handle.join().await.expect("ends by itself");
                assert_eq!(lock(&world).seen.len() as u64, count);
                // The next owner handles exactly the rest.
                let config = ConsumerConfig { count: None, until_end: true, ..config };
                let m = member(&world, &env, 1, &config, Behaviour { max_ms: 10, fail: 10, panic: 0 });
                m.assign(&world, &[0, 1, 2]);
                m.handle.join().await.expect("ends by itself");
                let world = lock(&world);
                assert_eq!(world.seen.len(), 150, "seed {seed}");
            },
            seed,
        );
    }
}

#[test]
fn an_idle_consumer_commits_nothing_and_sets_no_timer() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 5, 0, &mut rng);
            let m = member(&world, &env, 0, &config(Order::None, 2), Behaviour { max_ms: 0, fail: 0, panic: 0 });
            m.assign(&world, &[0]);
            env.sleep(Duration::from_secs(3)).await;
            assert_eq!(lock(&world).commits, 1);
            env.sleep(Duration::from_secs(3_600)).await;
            assert_eq!(lock(&world).commits, 1);
            m.handle.stop().await.expect("clean");
            assert_eq!(lock(&world).commits, 1, "nothing new");
        },
        1,
    );
}

#[test]
fn a_hung_handler_delays_stop_by_stop_timeout_only_and_is_counted() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 5, 0, &mut rng);
            let (events, events_in) = mpsc::unbounded_channel();
            let (feed, feed_in) = mpsc::unbounded_channel();
            let group = Arc::new(FakeGroup { world: world.clone(), member: 0 });
            let log = Arc::new(FakeLog { world: world.clone(), feed, batch: 7 });
            let handler = |_| std::future::pending::<std::result::Result<(), HandlerError>>();
            let handle = start(
                env.clone(),
                (group, events_in),
                (log, feed_in),
                config(Order::None, 2),
                Seams::default(),
                handler,
            );
            let m = Member { number: 0, feed: None, handle, events };
            m.assign(&world, &[0]);
            env.sleep(Duration::from_secs(1)).await;
            let began = env.now();
            assert_eq!(m.handle.stop().await.expect("stopped").left, 2);
            assert_eq!(env.now() - began, Duration::from_secs(30));
            assert!(lock(&world).committed.is_empty());
        },
        1,
    );
}

#[test]
fn a_handler_timeout_ends_a_hung_handler_and_counts_as_its_failure() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 5, 0, &mut rng);
            let (events, events_in) = mpsc::unbounded_channel();
            let (feed, feed_in) = mpsc::unbounded_channel();
            let group = Arc::new(FakeGroup { world: world.clone(), member: 0 });
            let log = Arc::new(FakeLog { world: world.clone(), feed, batch: 7 });
            let handler = |_| std::future::pending::<std::result::Result<(), HandlerError>>();
            let config = ConsumerConfig {
                handler_timeout: Some(Duration::from_millis(200)),
                until_end: true,
                on_failure: OnFailure::Hold,
                ..config(Order::None, 2)
            };
            let handle = start(env.clone(), (group, events_in), (log, feed_in), config, Seams::default(), handler);
            let failures = handle.failures();
            let m = Member { number: 0, feed: None, handle, events };
            m.assign(&world, &[0]);
            m.handle.join().await.expect("ended");
            let mut count = 0;
            while let Some(failure) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
                assert!(failure.error.to_string().contains("handler_timeout"));
                count += 1;
            }
            assert_eq!(count, 5);
        },
        1,
    );
}

#[test]
fn one_hot_key_does_not_stop_the_others() {
    simulate(
        async |env, _| {
            // Nine records of ten have one key; the others are spread behind them.
            let keys = (0..200).map(|i| Some(if i % 10 == 9 { format!("cold-{i}") } else { "hot".into() })).collect();
            let world = Arc::new(Mutex::new(World { logs: vec![keys], topic_id: ID, ..World::default() }));
            let m = member(&world, &env, 0, &config(Order::Key, 8), Behaviour { max_ms: 20, fail: 0, panic: 0 });
            m.assign(&world, &[0]);
            env.sleep(Duration::from_millis(300)).await;
            let world = lock(&world);
            let cold = world.seen.iter().filter(|s| s.finished && s.key.as_deref() != Some(b"hot")).count();
            assert_eq!(cold, 20);
            assert!(world.seen.len() < 200, "the hot key is still at it");
        },
        7,
    );
}

#[test]
fn intake_pauses_at_max_held_and_an_event_names_the_offset() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 60, 3, &mut rng);
            let config = ConsumerConfig { on_failure: OnFailure::Hold, max_held: 10, ..config(Order::None, 4) };
            let m = member(&world, &env, 0, &config, Behaviour { max_ms: 5, fail: 100, panic: 0 });
            m.assign(&world, &[0]);
            env.sleep(Duration::from_secs(5)).await;
            assert_eq!(lock(&world).seen.len(), 10);
            let failures = m.handle.failures();
            m.handle.stop().await.expect("clean");
            let mut texts = Vec::new();
            while let Some(failure) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
                texts.push(failure.error.to_string());
            }
            assert!(texts.iter().any(|t| t.contains("orders-0 is paused") && t.contains("offset 0")), "{texts:?}");
        },
        3,
    );
}

#[test]
fn a_committed_offset_beyond_the_logs_end_is_not_believed() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 20, 3, &mut rng);
            let committed = Committed { offset: 500, leader_epoch: 0, metadata: String::new() };
            let config = ConsumerConfig { until_end: true, start_at: StartAt::Newest, ..config(Order::None, 4) };
            let m = member(&world, &env, 0, &config, Behaviour { max_ms: 5, fail: 0, panic: 0 });
            // Put there behind the checks' back.
            lock(&world).committed.insert(tp(0), committed);
            m.assign(&world, &[0]);
            m.handle.join().await.expect("clean");
            let world = lock(&world);
            assert_eq!((world.seen.len(), world.committed[&tp(0)].offset), (20, 20));
        },
        3,
    );
}

/// Found by the simulation: once the log had grown past it, the next owner believed what the last one had not.
#[test]
fn where_a_committed_offset_is_not_believed_the_right_one_is_committed_at_once() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 0, 3, &mut rng);
            let committed = Committed { offset: 500, leader_epoch: 0, metadata: String::new() };
            let m = member(&world, &env, 0, &config(Order::None, 4), Behaviour { max_ms: 5, fail: 0, panic: 0 });
            lock(&world).committed.insert(tp(0), committed);
            m.assign(&world, &[0]);
            env.sleep(Duration::from_secs(2)).await;
            assert_eq!(lock(&world).committed[&tp(0)].offset, 0);
            m.handle.stop().await.expect("clean");
        },
        3,
    );
}

/// Found by the simulation: brokers before 4.1 take commits by name, and one for the former topic skipped the new one's.
#[test]
fn what_was_committed_for_a_former_topic_of_the_name_is_not_believed() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 20, 3, &mut rng);
            let log = LogId { cluster: 1, topic: crate::wire::Uuid([8; 16]) };
            let metadata = Finished { log, base: 15, leader_epoch: -1, runs: Vec::new() }.encode();
            let config = ConsumerConfig { until_end: true, ..config(Order::None, 4) };
            let m = member(&world, &env, 0, &config, Behaviour { max_ms: 5, fail: 0, panic: 0 });
            lock(&world).committed.insert(tp(0), Committed { offset: 15, leader_epoch: 0, metadata });
            m.assign(&world, &[0]);
            m.handle.join().await.expect("clean");
            assert_eq!(lock(&world).seen.len(), 20);
        },
        3,
    );
}

#[test]
fn nothing_is_committed_for_a_topic_that_was_made_again_meanwhile() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 20, 3, &mut rng);
            let m = member(&world, &env, 0, &config(Order::None, 4), Behaviour { max_ms: 5, fail: 0, panic: 0 });
            m.assign(&world, &[0]);
            env.sleep(Duration::from_millis(1)).await;
            lock(&world).topic_id = crate::wire::Uuid([8; 16]);
            m.handle.stop().await.expect("clean");
            assert_eq!(lock(&world).committed.get(&tp(0)), None);
        },
        3,
    );
}

#[test]
fn handlers_in_tasks_of_their_own_keep_the_same_promises() {
    simulate(
        async |env, mut rng| {
            let world = world(2, 40, 3, &mut rng);
            let config = ConsumerConfig { spawn_each: true, until_end: true, ..config(Order::Key, 4) };
            let m = member(&world, &env, 0, &config, Behaviour { max_ms: 9, fail: 5, panic: 5 });
            m.assign(&world, &[0, 1]);
            m.handle.join().await.expect("clean");
            let world = lock(&world);
            world.check_order(Order::Key);
            assert_eq!(world.seen.len(), 80);
            assert!((0..2).all(|p| world.committed[&tp(p)].offset == 40));
        },
        5,
    );
}

#[test]
fn a_batch_that_cannot_be_read_ends_the_consumer_after_what_came_before_it() {
    for order in ORDERS {
        simulate(
            async |env, mut rng| {
                let world = world(2, 40, 3, &mut rng);
                let m = member(&world, &env, 0, &config(order, 4), Behaviour { max_ms: 50, fail: 0, panic: 0 });
                m.assign(&world, &[0]);
                env.sleep(Duration::from_millis(1)).await;
                let (epoch, fault) = (AssignmentEpoch(1), FetchFault::BadBatch { offset: 40 });
                let error = crate::Error::new(crate::ErrorKind::CorruptBatch, "orders-0 at offset 40");
                let error = FetchError { tp: Arc::new(tp(0)), epoch, fault, error };
                m.feed.as_ref().expect("a feed").send(FetchEvent::Error(error)).expect("it runs");
                let ended = m.handle.join().await.expect_err("it cannot go on");
                assert_eq!(ended.kind(), crate::ErrorKind::CorruptBatch);
                let world = lock(&world);
                assert_eq!(world.seen.len(), 40);
                assert_eq!(world.committed[&tp(0)].offset, 40);
            },
            11,
        );
    }
}
