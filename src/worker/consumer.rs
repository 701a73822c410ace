//! One consumer: the task that ties a group membership, the fetcher and the lanes together. It owns who is assigned
//! what; records themselves go from its feed into the scheduler and never through it again. Taking partitions up is
//! in `assign.rs`, giving them away in `revoke.rs`, ending in `stop.rs`, committing in `commit.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::aftercare::Seams;
use super::assign::Starts;
use super::commit::{Committing, Point};
use super::config::{ConsumerConfig, Order};
use super::events::{SubscriptionEvent, named};
use super::failure::{Failure, Failures, HandlerError};
use super::handle::{ConsumerHandle, Outcome};
use super::metadata::LogId;
use super::part::Prepared;
use super::policy::CommitPolicy;
use super::pool::{LaneRules, Pool, Shared, lanes_for};
use super::record::{Assignment, Record};
use super::revoke::{Again, Revocation};
use super::scheduler::{PartId, Rules, Scheduler};
use super::seam::{Feed, Guard, Log, Membership};
use super::watching::Ends;
use crate::client::fetch::{FetchError, FetchEvent, FetchFault, Fetched, FetchedBatch};
use crate::client::types::{AssignmentEpoch, TopicId, TopicPartition};
use crate::env::Env;
use crate::env::watch;
use crate::group::GroupEvent;
use crate::telemetry::meter::{self, ConsumerMeter, PartitionMeter};
use crate::{Error, ErrorKind, Result};

/// Without partitions, `until_end` is done when the group has told nothing for this long and the time that the former
/// owners of what might come have to drain.
const QUIET: Duration = Duration::from_secs(5);

/// Fetched blocks taken in before looking at anything else.
const BURST: usize = 63;

/// A partition we own.
pub(super) enum Owned {
    /// Its start is being found out.
    Starting(AssignmentEpoch),
    Running(Running),
}

/// A partition whose records are handled.
pub(super) struct Running {
    pub(super) id: PartId,
    pub(super) assignment: Arc<Assignment>,
    /// What is read and committed.
    pub(super) log: LogId,
    /// Reads as long as it is here.
    pub(super) guard: Option<Guard>,
    /// What the group has committed, as far as we know.
    pub(super) committed: Option<Point>,
    /// The lowest offset whose handler runs, and since when it has been that; `None`: that was told.
    pub(super) stands: Option<(i64, Option<Instant>)>,
    /// Its guard is paused, for its next record is not due for long.
    pub(super) shut: bool,
    /// When its next record is due, ms since 1970, where that is long enough to be told to those who watch.
    pub(super) waits: Option<i64>,
    /// It reached `max_held`, or cannot be read on.
    pub(super) ended: bool,
    pub(super) meter: PartitionMeter,
}

/// Why the consumer ends.
#[derive(Debug)]
pub(super) enum Reason {
    /// Asked to, or all it was to do is done.
    Done,
    /// The handle was dropped: nobody waits.
    Dropped,
    /// A handler failed under `Stop`; the error is kept by then.
    HandlerFailed,
    Failed(Error),
}

/// See the file's head.
pub(super) struct Driver<M, L, F, G> {
    pub(super) env: Env,
    pub(super) config: ConsumerConfig,
    pub(super) shared: Arc<Shared<FetchedBatch>>,
    pub(super) meter: Arc<ConsumerMeter>,
    pub(super) pool: Option<Pool>,
    pub(super) membership: Arc<M>,
    pub(super) log: Arc<L>,
    feed: F,
    pub(super) events: G,
    pub(super) owned: BTreeMap<TopicPartition, Owned>,
    /// Where partitions start is being found out.
    pub(super) starting: FuturesUnordered<Starts>,
    pub(super) policy: CommitPolicy,
    pub(super) committing: Option<Committing>,
    /// Revocations that are not answered yet.
    pub(super) revoking: Vec<Revocation>,
    /// What revocations left behind.
    pub(super) again: Again,
    /// The brokers take a commit's metadata (`offset.metadata.max.bytes`).
    pub(super) metadata_fits: bool,
    /// What guards were told.
    pub(super) paused: bool,
    /// Somebody reads the events.
    pub(super) watching: bool,
    /// Where logs end is being found out, for those who watch.
    pub(super) ends: FuturesUnordered<Ends>,
    /// Where `until_end` ends, as found out when a partition was assigned first: what is written meanwhile moves no goal.
    pub(super) goals: BTreeMap<TopicPartition, (TopicId, i64)>,
    /// Started where a later owner would not: their positions are to be committed at once.
    pub(super) pinned: Vec<PartId>,
    pub(super) epochs: u64,
    /// When the group last said what is ours; `None`: never, or something was taken away since.
    assigned: Option<Instant>,
    /// A partition cannot be read on: the consumer ends, for nobody may notice one that stands still.
    fault: Option<(TopicPartition, Error)>,
}

/// Starts a consumer over a membership whose events come from `events`, and a log whose data comes from `feed`.
pub(super) fn start<M, L, F, G, H, Fut>(
    env: Env,
    (membership, events): (Arc<M>, G),
    (log, feed): (Arc<L>, F),
    mut config: ConsumerConfig,
    seams: Seams,
    handler: H,
) -> ConsumerHandle
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
    H: Fn(Record<FetchedBatch>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    config.start_at = config.start_at.fixed(env.wall_ms());
    let concurrency = config.concurrency.max(1);
    let lanes = lanes_for(concurrency, config.lanes.unwrap_or_else(|| env.workers()));
    let order = config.effective_order();
    let rules = Rules { order, lanes: lanes as u32, max_held: config.max_held.max(1), count: config.count };
    let shared = Shared::new(Scheduler::new(rules), lanes, Failures::default());
    let (handle, stop_asked, outcome) = ConsumerHandle::new(shared.clone());
    let lane_rules = LaneRules {
        plan: config.on_failure.plan(),
        aftercare: seams.aftercare,
        meter: seams.meter.clone(),
        forward: seams.forward,
        handler_timeout: config.handler_timeout,
        spawn_each: config.spawn_each,
        serial: order == Order::Partition,
    };
    let pool = Some(Pool::start(&env, &shared, lane_rules, concurrency, handler));
    let policy = CommitPolicy::new(config.commit_interval);
    let driver = Driver {
        env: env.clone(),
        config,
        shared,
        meter: seams.meter,
        pool,
        membership,
        log,
        feed,
        events,
        owned: BTreeMap::new(),
        starting: FuturesUnordered::new(),
        policy,
        committing: None,
        revoking: Vec::new(),
        again: Again::default(),
        metadata_fits: true,
        paused: false,
        watching: false,
        ends: FuturesUnordered::new(),
        goals: BTreeMap::new(),
        pinned: Vec::new(),
        epochs: 0,
        assigned: None,
        fault: None,
    };
    env.spawn(driver.run(stop_asked, outcome));
    handle
}

impl<M, L, F, G> Driver<M, L, F, G>
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
{
    async fn run(mut self, mut stop_asked: watch::Receiver<bool>, outcome: watch::Sender<Outcome>) {
        let reason = self.work(&mut stop_asked).await;
        tracing::debug!(target: "dispatcher::worker", ?reason, "the consumer ends");
        let shared = self.shared.clone();
        let ended = self.finish(reason).await;
        outcome.send_replace(Some(ended));
        shared.failures.end();
        shared.events.ring().end();
    }

    /// Until there is a reason to end.
    async fn work(&mut self, stop_asked: &mut watch::Receiver<bool>) -> Reason {
        loop {
            self.advance();
            if let Some(reason) = self.look() {
                return reason;
            }
            self.pin();
            let env = self.env.clone();
            let opening = self.look_at_delays();
            let due = [self.policy.due(), self.revocation_due(), opening, self.quiet_due()].into_iter().flatten().min();
            let timer = async move {
                match due {
                    Some(due) => env.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { biased;
                changed = stop_asked.changed() => match changed {
                    Ok(()) => return Reason::Done,
                    Err(_) => return Reason::Dropped,
                },
                event = self.events.recv() => match event {
                    Some(event) => if let Some(reason) = self.group_event(event) {
                        return reason;
                    },
                    None => {
                        let text = "the group membership has ended: subscribe again";
                        return Reason::Failed(Error::new(ErrorKind::Closed, text));
                    }
                },
                Some((of, found)) = self.ends.next() => self.ends_found(of, found),
                Some(found) = self.starting.next() => if let Some(reason) = self.found(found) {
                    return reason;
                },
                done = super::commit::answer(&mut self.committing) => self.committed(done),
                () = self.shared.signal.notified() => {}
                () = timer => self.tick(),
                Some(event) = self.feed.recv() => {
                    self.fetched(event);
                    // One look at everything else serves a burst of small blocks.
                    for _ in 0..BURST {
                        match self.feed.recv().now_or_never() {
                            Some(Some(event)) => self.fetched(event),
                            _ => break,
                        }
                    }
                }
            }
        }
    }

    /// Looks at what the lanes may have changed.
    fn look(&mut self) -> Option<Reason> {
        let now = self.env.now();
        let (exhausted, failed, active, alarm, reached) =
            self.shared.with(|s| (s.is_exhausted(), s.has_failed(), s.is_active(), s.take_alarm(), s.take_reached()));
        if failed {
            return Some(Reason::HandlerFailed);
        }
        if exhausted {
            return Some(Reason::Done);
        }
        if active {
            self.shared.arm();
            self.policy.touch(now);
        }
        if self.shared.lanes() == 0 {
            let text = "the runtime ended the handlers' tasks: keep it running as long as the subscription";
            return Some(Reason::Failed(Error::new(ErrorKind::Closed, text)));
        }
        if alarm {
            self.look_at_limits();
        }
        if reached {
            self.look_who_caught_up();
        }
        self.obey();
        // What was read before the fault is handled first.
        if let Some((tp, error)) = &self.fault
            && !matches!(self.owned.get(tp), Some(Owned::Running(r)) if !self.shared.with(|s| s.is_ended(r.id)))
        {
            return Some(Reason::Failed(error.clone()));
        }
        (self.config.until_end && self.all_ended()).then_some(Reason::Done)
    }

    /// Partitions that hold too many failed records, or bytes that are no records, are read no further.
    fn look_at_limits(&mut self) {
        for (tp, owned) in &mut self.owned {
            let Owned::Running(running) = owned else { continue };
            if running.ended || running.assignment.is_closed() {
                continue;
            }
            let id = running.id;
            let (held, broken) = self.shared.with(|s| (s.held(id), s.broken_at(id)));
            let error = if held >= self.config.max_held {
                let at = self.shared.with(|s| s.watermark(id)).unwrap_or(-1);
                let text = format!("{tp} is paused: {held} failed records are held, the lowest at offset {at}");
                let (topic, partition) = (tp.topic.clone(), tp.partition);
                self.shared.events.push(SubscriptionEvent::Held { topic, partition, offset: at, held });
                Error::new(ErrorKind::Handler, format!("{text}: mend the handler and restart"))
            } else if let Some(at) = broken {
                let text = format!("{tp} stops at offset {at}: the batch there holds bytes that are no records");
                Error::new(ErrorKind::CorruptBatch, text)
            } else {
                continue;
            };
            tracing::warn!(target: "dispatcher::worker", "{error}");
            running.ended = true;
            running.guard = None;
            self.shared.with(|s| {
                s.clear(id);
                s.end_here(id);
            });
            if broken.is_some() {
                self.fault.get_or_insert_with(|| (tp.clone(), error.clone()));
            }
            self.shared.failures.push(Failure { record: None, error });
        }
    }

    /// Whether `until_end` is done. What is being taken away has not ended, its tail was never handed out; and owning
    /// nothing counts only when nothing may come any more.
    fn all_ended(&self) -> bool {
        let ended = |owned: &Owned| match owned {
            Owned::Starting(_) => false,
            Owned::Running(r) if r.assignment.is_closed() => false,
            Owned::Running(r) => self.shared.with(|s| s.is_ended(r.id) || (r.ended && s.in_flight_of(r.id) == 0)),
        };
        if !self.revoking.is_empty() {
            false
        } else if self.owned.is_empty() {
            self.quiet_due().is_some_and(|due| self.env.now() >= due)
        } else {
            self.owned.values().all(ended)
        }
    }

    /// When `until_end` is done for want of partitions, if the group tells nothing until then: the first assignment of
    /// a cooperative member may be empty until others have drained what becomes its own.
    fn quiet_due(&self) -> Option<Instant> {
        let waits = self.config.until_end && self.owned.is_empty() && self.revoking.is_empty();
        self.assigned.filter(|_| waits).map(|at| at + self.config.drain_timeout + QUIET)
    }

    fn group_event(&mut self, event: GroupEvent) -> Option<Reason> {
        match event {
            GroupEvent::Assigned { partitions, generation } => {
                tracing::debug!(target: "dispatcher::worker", ?partitions, generation = generation.id, "assigned");
                self.assigned = Some(self.env.now());
                self.meter.rebalanced();
                self.shared.events.push(SubscriptionEvent::Assigned { partitions: named(&partitions) });
                self.begin(partitions, false);
            }
            GroupEvent::Revoke { partitions, deadline, done } => {
                self.assigned = None;
                self.revoke(&partitions, deadline, done);
            }
            GroupEvent::Lost { partitions } => {
                self.assigned = None;
                self.lose(&partitions);
            }
            GroupEvent::Failed(error) => return Some(Reason::Failed(error)),
            GroupEvent::Warning(error) => self.warn(error),
        }
        None
    }

    pub(super) fn warn(&self, error: Error) {
        tracing::warn!(target: "dispatcher::worker", "{error}");
        self.shared.failures.push(Failure { record: None, error });
    }

    fn fetched(&mut self, event: FetchEvent) {
        match event {
            FetchEvent::Fetched(fetched) => self.data(fetched),
            FetchEvent::Error(error) => self.fetch_error(error),
        }
    }

    /// The partition's present assignment, if `epoch` is it and it is not being taken away.
    pub(super) fn running(&mut self, tp: &TopicPartition, epoch: AssignmentEpoch) -> Option<&mut Running> {
        match self.owned.get_mut(tp) {
            Some(Owned::Running(running)) if running.assignment.epoch == epoch && !running.assignment.is_closed() => {
                Some(running)
            }
            _ => None,
        }
    }

    fn data(&mut self, fetched: Fetched) {
        let Some(running) = self.running(&fetched.tp, fetched.epoch) else { return };
        let id = running.id;
        if running.ended {
            return;
        }
        let weigh = |(count, bytes), batch: &Arc<FetchedBatch>| {
            (count + u64::from(batch.count), bytes + batch.batch.data().len() as u64)
        };
        let (count, bytes) = if meter::ON { fetched.batches.iter().fold((0, 0), weigh) } else { (0, 0) };
        let mut prepared = Vec::with_capacity(fetched.batches.len());
        for batch in fetched.batches {
            let base = batch.batch.header().base_offset;
            match Prepared::new(batch) {
                Ok(Some(block)) => prepared.push(block),
                Ok(None) => {}
                Err(error) => {
                    self.shared.with(|s| s.push(id, prepared, base));
                    let text = format!("{} stops at offset {base}: its batch cannot be read", fetched.tp);
                    let error = Error::new(ErrorKind::CorruptBatch, text).with_source(error);
                    self.stop_partition(&fetched.tp, fetched.epoch, error);
                    return;
                }
            }
        }
        self.shared.with(|s| s.push(id, prepared, fetched.next_offset));
        if meter::ON {
            // Without transactions under way the two are the same.
            let end = if fetched.last_stable >= 0 { fetched.last_stable } else { fetched.high_watermark };
            if let Some(running) = self.running(&fetched.tp, fetched.epoch) {
                running.meter.fetched(count, bytes, end);
            }
            self.measure(&fetched.tp);
        }
    }

    /// Shows how a partition stands.
    pub(super) fn measure(&self, tp: &TopicPartition) {
        if let Some(Owned::Running(running)) = self.owned.get(tp) {
            let id = running.id;
            let (watermark, in_flight) = self.shared.with(|s| (s.watermark(id), s.in_flight_of(id)));
            running.meter.stands(watermark.unwrap_or_default(), in_flight);
        }
    }

    /// Reads no further; what has been read is still handled.
    fn stop_partition(&mut self, tp: &TopicPartition, epoch: AssignmentEpoch, error: Error) {
        if let Some(running) = self.running(tp, epoch) {
            running.ended = true;
            running.guard = None;
            let id = running.id;
            self.shared.with(|s| s.end_here(id));
            self.fault.get_or_insert_with(|| (tp.clone(), error.clone()));
            self.warn(error);
        }
    }

    fn fetch_error(&mut self, FetchError { tp, epoch, fault, error }: FetchError) {
        match fault {
            FetchFault::Notice => self.warn(error),
            FetchFault::BadBatch { .. } => self.stop_partition(&tp, epoch, error),
            FetchFault::Recreated if self.running(&tp, epoch).is_some() => {
                self.warn(error);
                self.begin(vec![(*tp).clone()], true);
            }
            FetchFault::Recreated => {}
        }
    }

    /// Ends an assignment at once: nothing more of it starts, what is running ends into nothing.
    pub(super) fn discard(&self, running: Running) {
        self.shared.with(|s| s.remove(running.id));
        running.assignment.cancel.raise();
    }
}
