//! What is known about a run while it goes on, and all that can be judged at once: who handles what, whether it may,
//! what was committed meanwhile. What needs the whole run is judged in `check.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, KafkaVersion, Network, RequestEvent, StoredRecord};
use dispatcher::{Message, OnFailure, Order};
use tokio::time::Instant;

use crate::dice::Trace;
use crate::plan::Plan;

pub(crate) const TOPIC: &str = "orders";
pub(crate) const GROUP: &str = "kitchen:orders";
/// Requests that brokers may get within one virtual second; more is a busy loop.
const MAX_REQUESTS: u64 = 3_000;

/// What all tasks of a run share.
pub(crate) struct Ctx {
    pub(crate) plan: Plan,
    pub(crate) cluster: EmbeddedCluster,
    world: Mutex<World>,
    start: Instant,
    verbose: bool,
}

impl Ctx {
    pub(crate) fn new(plan: Plan, cluster: EmbeddedCluster, verbose: bool) -> Arc<Self> {
        Arc::new(Self { plan, cluster, world: Mutex::default(), start: Instant::now(), verbose })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn topic(&self) -> &'static str {
        TOPIC
    }

    pub(crate) fn group(&self) -> &'static str {
        GROUP
    }

    /// Since the run began.
    pub(crate) fn time(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits until so long after the beginning.
    pub(crate) async fn until(&self, at: Duration) {
        tokio::time::sleep_until(self.start + at).await;
    }

    pub(crate) fn log(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>9.3} {}", self.time().as_secs_f64(), text());
        }
    }

    /// An invariant does not hold.
    pub(crate) fn violated(&self, invariant: &str, what: impl Into<String>) {
        let text = format!("{invariant}: {} (at {:.3} s)", what.into(), self.time().as_secs_f64());
        self.log(|| format!("VIOLATED {text}"));
        self.world().violations.push(text);
    }

    pub(crate) fn partitions(&self) -> i32 {
        (0..).find(|p| self.cluster.partition(TOPIC, *p).is_none()).unwrap_or(0)
    }

    pub(crate) fn committed(&self) -> BTreeMap<i32, i64> {
        let of = |p| Some((p, self.cluster.committed(GROUP, TOPIC, p)?));
        (0..self.partitions()).filter_map(of).collect()
    }

    /// Does something after which records may be gone from the log, and remembers them.
    pub(crate) fn losing(&self, destroy: impl FnOnce()) {
        let before = self.everything();
        destroy();
        let after: BTreeSet<(i32, i64)> = self.everything().into_iter().map(|(p, r)| (p, r.offset)).collect();
        let mut world = self.world();
        for (p, record) in before {
            if !after.contains(&(p, record.offset)) {
                world.lost.push((p, record));
            }
        }
    }

    /// All records in the log now.
    pub(crate) fn everything(&self) -> Vec<(i32, StoredRecord)> {
        let of = |p| self.cluster.records(TOPIC, p).into_iter().map(move |r| (p, r));
        (0..self.partitions()).flat_map(of).collect()
    }

    /// Takes note of a request, and of what it committed.
    pub(crate) fn observe(&self, event: &RequestEvent) {
        self.log(|| {
            let RequestEvent { broker, connection, api, version, request, response, .. } = event;
            let answer = response.as_ref().map_or("unanswered".into(), |r| format!("{} bytes", r.len()));
            format!("  broker {broker} on {connection}: {api} v{version}, {} bytes: {answer}", request.len())
        });
        let second = self.time().as_secs();
        let millis = self.time().as_millis() as u64;
        let committed = (event.api == Api::OffsetCommit).then(|| self.committed());
        let mut world = self.world();
        let trace = &mut world.trace;
        trace.number(millis);
        trace.number(event.broker as u64 ^ event.connection << 8 ^ (event.version as u64) << 40);
        trace.bytes(&event.request);
        trace.bytes(event.response.as_deref().unwrap_or_default());
        world.requests += 1;
        if world.second.0 != second {
            world.second = (second, 0);
        }
        world.second.1 += 1;
        world.busiest = world.busiest.max(world.second.1);
        if let Some(committed) = committed {
            world.committed(committed, millis, self.plan.delays_requests());
        }
        let busy = world.second.1 == MAX_REQUESTS;
        drop(world);
        if busy {
            self.violated("P", format!("busy loop: {MAX_REQUESTS} requests in one second, the last {}", event.api));
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) trace: Trace,
    pub(crate) violations: Vec<String>,
    pub(crate) sends: Vec<Send>,
    pub(crate) lives: Vec<Life>,
    /// By partition and offset. Of a topic that was made again, only the last one's.
    pub(crate) records: BTreeMap<(i32, i64), Handled>,
    /// Ids of messages that a handler has finished with, whatever became of their topic.
    pub(crate) handled_ids: BTreeSet<String>,
    /// Where each partition's log ended when everything was committed.
    pub(crate) ends: BTreeMap<i32, i64>,
    /// Gone from the log by retention or compaction.
    pub(crate) lost: Vec<(i32, StoredRecord)>,
    /// What the group has committed, every new value with its place in the order of events.
    pub(crate) commits: Vec<(u64, i32, i64)>,
    last_committed: BTreeMap<i32, i64>,
    /// Moments at which the topic was made again.
    pub(crate) recreations: u32,
    running: BTreeMap<u64, Running>,
    processes: BTreeMap<u32, Network>,
    senders: Vec<Network>,
    /// Numbers the events that are compared with each other.
    clock: u64,
    pub(crate) calm: bool,
    pub(crate) requests: u64,
    second: (u64, u64),
    pub(crate) busiest: u64,
}

/// A message that was sent.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) id: String,
    pub(crate) producer: usize,
    /// The partition it was given when it was enqueued.
    pub(crate) partition: Option<i32>,
    pub(crate) outcome: Outcome,
    /// How often the topic had been made again by then.
    pub(crate) recreations: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody waited for it, or its process died.
    Unknown,
    Acked(i32, Option<i64>),
    NotWritten,
    MaybeWritten,
}

/// A member's life.
pub(crate) struct Life {
    committed: BTreeMap<i32, i64>,
    places: BTreeMap<i32, Place>,
}

/// Where a life is in a partition.
struct Place {
    /// The last message that was handed out.
    last: Message,
    /// Counts this life's assignments of the partition, as far as they can be told apart.
    assignment: u32,
    /// The highest offset handed out, by key (all under one, in order by partition) in this assignment.
    highest: BTreeMap<Vec<u8>, i64>,
}

/// What became of a record.
#[derive(Debug, Default)]
pub(crate) struct Handled {
    pub(crate) id: String,
    pub(crate) starts: u32,
    /// Place in the order of events of the first end.
    pub(crate) finished: Option<u64>,
    /// Lives and their assignments that finished it.
    pub(crate) by: Vec<(usize, u32)>,
    /// It must not be handled again.
    pub(crate) settled: bool,
}

struct Running {
    life: usize,
    partition: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    assignment: u32,
    message: Message,
}

impl World {
    fn stamp(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn committed(&mut self, committed: BTreeMap<i32, i64>, millis: u64, late_commits: bool) {
        for (partition, offset) in committed {
            let last = self.last_committed.insert(partition, offset);
            if last == Some(offset) {
                continue;
            }
            if let Some(last) = last.filter(|last| *last > offset) {
                self.went_back(partition, offset);
                if !late_commits && self.recreations == 0 {
                    self.violations.push(format!(
                        "C: the committed offset of {partition} went back from {last} to {offset} (at {millis} ms)"
                    ));
                }
            }
            let stamp = self.stamp();
            self.commits.push((stamp, partition, offset));
        }
    }

    /// A commit that was given up and sent again on another connection came late after all, and took a newer one back.
    fn went_back(&mut self, partition: i32, offset: i64) {
        let places = self.lives.iter_mut().filter_map(|life| life.committed.get_mut(&partition));
        places.for_each(|committed| *committed = offset.min(*committed));
        // Who stops now has committed all that, as far as it knows.
        let above = self.records.iter_mut().filter(|((p, o), _)| *p == partition && *o >= offset);
        above.for_each(|(_, record)| (record.settled, record.by) = (false, Vec::new()));
    }

    /// The topic was made again: offsets begin anew.
    pub(crate) fn recreated(&mut self) {
        self.recreations += 1;
        self.records.clear();
        self.commits.clear();
        self.last_committed.clear();
        self.lost.clear();
        self.lives.iter_mut().for_each(|life| life.committed.clear());
    }

    pub(crate) fn shift_clock(&mut self, slot: u32, ms: i64) {
        match self.processes.get(&slot) {
            Some(process) => process.shift_wall_clock(ms),
            None => self.senders.iter().for_each(|sender| sender.shift_wall_clock(ms)),
        }
    }

    /// The clocks of senders may jump too: with a number that is no member's.
    pub(crate) fn begin_sender(&mut self, process: Network) {
        self.senders.push(process);
    }

    pub(crate) fn begin_life(&mut self, slot: u32, process: Network, committed: BTreeMap<i32, i64>) -> usize {
        self.processes.insert(slot, process);
        self.lives.push(Life { committed, places: BTreeMap::new() });
        self.lives.len() - 1
    }

    /// A handler of `life` is called.
    pub(crate) fn begin(&mut self, ctx: &Ctx, life: usize, message: &Message, id: &str) -> u64 {
        let (partition, offset) = (message.partition(), message.offset());
        let key = message.key().map(<[u8]>::to_vec);
        let group = &ctx.plan.group;
        let mut wrong = Vec::new();
        let name = |life: usize| format!("life {life}");
        let mine = self.running.values().filter(|r| r.life == life);
        if mine.clone().count() >= group.concurrency {
            // Those of a partition that was taken away may still run, within the same limit.
            wrong.push(("B", format!("{} runs more than {} handlers", name(life), group.concurrency)));
        }
        let lane = match group.order {
            Order::Partition => Some(Vec::new()),
            Order::Key => key.clone(),
            _ => None,
        };
        let conflicts = |r: &&Running| match group.order {
            Order::Partition => true,
            Order::Key => key.is_some() && r.key == key,
            _ => false,
        };
        for other in mine.filter(|r| r.partition == partition && !r.message.is_cancelled()).filter(conflicts) {
            wrong.push(("K", format!("{partition}/{offset} begins while {partition}/{} runs", other.offset)));
        }
        let this = &mut self.lives[life];
        // A member may have committed what it had read of the topic's former self, after it was made again.
        if self.recreations == 0 && this.committed.get(&partition).is_some_and(|c| offset < *c) {
            wrong.push(("D", format!("{partition}/{offset} is handled, committed before {} began", name(life))));
        }
        let place = this.places.entry(partition).or_insert_with(|| Place {
            last: message.detach(),
            assignment: 0,
            highest: BTreeMap::new(),
        });
        if place.last.is_cancelled() {
            place.assignment += 1;
            place.highest.clear();
        }
        place.last = message.detach();
        let assignment = place.assignment;
        if let Some(lane) = lane {
            let before = place.highest.insert(lane, offset);
            if let Some(before) = before.filter(|before| *before >= offset) {
                wrong.push(("K", format!("{partition}/{offset} begins after {partition}/{before}")));
            }
        }
        let record = self.records.entry((partition, offset)).or_default();
        if record.id != id {
            // The topic was made again, and there is another message at that place.
            *record = Handled { id: id.to_owned(), ..Handled::default() };
        }
        record.starts += 1;
        // A member that knew only the former topic begins the new one at its beginning, whatever was committed.
        if record.settled && self.recreations == 0 {
            wrong.push(("D", format!("{partition}/{offset} is handled again after a clean stop")));
        }
        if ctx.plan.confuses_topics() {
            wrong.clear();
        }
        let stamp = self.stamp();
        self.trace.number(stamp ^ (partition as u64) << 32 ^ (offset as u64) << 40 ^ (life as u64) << 56);
        self.running.insert(stamp, Running { life, partition, offset, key, assignment, message: message.clone() });
        let at = ctx.time();
        self.violations
            .extend(wrong.into_iter().map(|(i, text)| format!("{i}: {text} (at {:.3} s)", at.as_secs_f64())));
        stamp
    }

    /// It has ended; `finished` unless its failure is kept.
    pub(crate) fn end(&mut self, ctx: &Ctx, token: u64, id: &str, finished: bool) {
        let Some(Running { life, partition, offset, assignment, .. }) = self.running.remove(&token) else { return };
        self.trace.number(token ^ u64::from(finished) << 63);
        if !finished {
            return;
        }
        self.handled_ids.insert(id.to_owned());
        let stamp = self.stamp();
        let gone = self.lost.iter().any(|(p, r)| (*p, r.offset) == (partition, offset));
        let first_commit = self.commits.iter().find(|(_, p, _)| *p == partition).map(|(.., offset)| *offset);
        let Some(record) = self.records.get_mut(&(partition, offset)).filter(|r| r.id == id) else { return };
        if record.finished.is_none() {
            record.finished = Some(stamp);
            let skipped = ctx.plan.group.skip_existing && first_commit.is_none_or(|first| offset < first);
            let committed = ctx.cluster.committed(GROUP, TOPIC, partition);
            if let Some(committed) = committed.filter(|c| *c > offset && !skipped && !gone && self.recreations == 0) {
                let text = format!("C: {partition}/{offset} was not finished, but {committed} is committed");
                self.violations.push(format!("{text} (at {:.3} s)", ctx.time().as_secs_f64()));
            }
        }
        record.by.push((life, assignment));
    }

    /// The handler was dropped where it waited.
    pub(crate) fn dropped(&mut self, token: u64) {
        self.running.remove(&token);
        self.trace.number(!token);
    }

    /// Partitions that `life` still owns, as far as it shows, with the assignment.
    pub(crate) fn owned(&self, life: usize) -> Vec<(i32, u32)> {
        let places = &self.lives[life].places;
        places.iter().filter(|(_, place)| !place.last.is_cancelled()).map(|(&p, place)| (p, place.assignment)).collect()
    }

    /// After a clean stop, what was finished of `owned` is finished for good; where topics have no ids, only what lies
    /// below the committed offset, for nothing beyond it can be told.
    pub(crate) fn settle(&mut self, ctx: &Ctx, life: usize, owned: &[(i32, u32)]) {
        let committed = ctx.committed();
        // Nor where a commit that was given up may come late, with an older note at the same offset.
        let with_ids = ctx.plan.version >= KafkaVersion::V2_8 && !ctx.plan.delays_requests();
        for ((partition, offset), record) in &mut self.records {
            if !with_ids && committed.get(partition).is_none_or(|c| *offset >= *c) {
                continue;
            }
            let was = |(l, a): &(usize, u32)| *l == life && owned.contains(&(*partition, *a));
            record.settled |= record.by.iter().any(was);
        }
    }

    /// Handlers that run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// A failure under this policy ends its record.
    pub(crate) fn failure_finishes(on_failure: &OnFailure) -> bool {
        matches!(on_failure, OnFailure::Skip)
    }
}
