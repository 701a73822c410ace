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

mod bounds;
mod committed;
mod ends_and_starts;
mod follow;
mod promises;
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
    fn attach(&self, tp: &TopicPartition, from: Position, epoch: AssignmentEpoch, _: bool) -> Guard {
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
    feed: mpsc::UnboundedSender<FetchEvent>,
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
    Member { number, feed: errors, handle, events }
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
