//! The driver of one fetch session: one task per broker and isolation level. It sends the next Fetch as soon as the
//! headers of the last answer are read and the readers have not enough to go on with, opens and delivers that answer's
//! batches while the broker works, and hands partitions that went elsewhere back to the fetcher. Idle, it costs one request of a few bytes per long poll.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::budget::{Budget, Charge, Reservation};
use super::config::FetchConfig;
use super::delivery::{Fetched, FetchedBatch, Link, Memory, OnBadBatch, Pin};
use super::pace::Pace;
use super::parse::{self, BadBatch};
use super::reading::{Reading, Trouble};
use super::request::{self, Terms};
use super::table::{Answered, Table, Work, max_wait, report_bad};
use crate::client::retry::Backoff;
use crate::client::topology::BrokerMeta;
use crate::client::types::Isolation;
use crate::client::{Cluster, TopicId, Use};
use crate::net::{Connection, Pending};
use crate::wire::messages::fetch::NodeEndpoint;
use crate::wire::messages::{FetchRequest, FetchResponse};
use crate::wire::records::{Limits, RawBatch};
use crate::wire::{ErrorCode, Records};

/// Answers without records that come faster than asked before the source slows down.
const FAST_EMPTY: u32 = 3;
/// Fewer free bytes than this are not worth a request.
const LEAST: i64 = 1 << 20;

/// A partition that keeps frames of more than this part of the budget in memory gets copies from then on.
const MAX_PINNED: i64 = 8;
/// How long nothing is asked for while the readers have enough.
const MAX_HOLD: Duration = Duration::from_secs(10);
/// A partition that comes does not wait longer than this behind the request under way.
const WORTH_WAITING: Duration = Duration::from_millis(30);

/// Which session. A partition attached twice needs two: `nth` counts them, and all but the first have connections of
/// their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceKey {
    pub(super) broker: i32,
    pub(super) isolation: Isolation,
    pub(super) nth: u32,
}

/// What the fetcher tells a source.
#[derive(Debug)]
pub(super) enum Order {
    Insert(Reading),
    /// Look at the link's state again.
    Nudge(Arc<Link>),
    /// Metadata came: the leader is the same, its epoch or the topic's id may not be.
    LeaderEpoch(u64, Option<TopicId>, i32),
    /// Give the partition back: its leader is elsewhere now.
    Release(u64),
}

/// A partition on its way back to the fetcher.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) reading: Reading,
    pub(super) trouble: Trouble,
}

/// The fetcher has gone.
struct Gone;

/// What all sources of a fetcher share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) cluster: Cluster,
    pub(super) config: Arc<FetchConfig>,
    pub(super) budget: Budget,
    /// How many sources share the budget.
    pub(super) sources: Arc<AtomicUsize>,
    pub(super) returned: mpsc::UnboundedSender<Returned>,
}

pub(super) struct Source {
    key: SourceKey,
    common: Common,
    table: Table,
    orders: mpsc::UnboundedReceiver<Order>,
    connection: Option<Connection>,
    backoff: Backoff,
    /// Answers since partitions last came or went.
    quiet: u32,
    fast_empties: u32,
    pace: Pace,
    /// Bytes of the last answer, decompressed.
    opened: i64,
    /// Cloned by every charge for decompressed bytes.
    inflated: Arc<()>,
}

/// A request under way.
struct Flight {
    pending: Pending<FetchRequest>,
    reservation: Reservation,
    sent: Instant,
    wait: Duration,
}

/// An answer whose batches are not opened yet.
#[derive(Default)]
struct Arrived {
    work: Vec<Work>,
    charge: Option<Arc<Charge>>,
}

impl Source {
    pub(super) fn new(key: SourceKey, common: Common, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        Self {
            table: Table::new(key.isolation, common.budget.clone(), common.config.max_bytes),
            backoff: Backoff::new(common.cluster.config().retry_backoff),
            pace: Pace::new(common.config.max_bytes),
            opened: 0,
            key,
            common,
            orders,
            connection: None,
            quiet: 0,
            fast_empties: 0,
            inflated: Arc::default(),
        }
    }

    /// Runs until the fetcher lets go of it.
    pub(super) async fn run(mut self) {
        self.common.sources.fetch_add(1, Ordering::AcqRel);
        let Err(Gone) = self.turn().await;
        self.common.sources.fetch_sub(1, Ordering::AcqRel);
    }

    async fn turn(&mut self) -> Result<std::convert::Infallible, Gone> {
        let mut arrived = Arrived::default();
        loop {
            self.catch_up()?;
            if self.table.is_idle() {
                self.open(std::mem::take(&mut arrived)).await;
                self.rest().await?;
                continue;
            }
            self.hold_back(&mut arrived).await?;
            let flight = self.send(&mut arrived).await?;
            self.open(std::mem::take(&mut arrived)).await;
            if let Some(flight) = flight {
                arrived = self.receive(flight).await?;
            }
        }
    }

    /// Carries out what has been ordered, without waiting.
    fn catch_up(&mut self) -> Result<(), Gone> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.obey(order),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(Gone),
            }
        }
        self.table.wake(self.common.cluster.env().now());
        Ok(())
    }

    fn obey(&mut self, order: Order) {
        let now = self.common.cluster.env().now();
        match order {
            Order::Insert(reading) => self.table.insert(reading, now),
            Order::Nudge(link) => {
                link.take_nudge();
                self.table.refresh(link.id(), now);
            }
            Order::LeaderEpoch(id, topic_id, epoch) => {
                if let Some(reading) = self.table.on_metadata(id, topic_id, epoch, now) {
                    self.give_back(reading, Trouble::Moved { stale: false });
                }
            }
            Order::Release(id) => {
                if let Some(reading) = self.table.remove(id) {
                    self.give_back(reading, Trouble::Moved { stale: false });
                }
            }
        }
    }

    fn give_back(&self, reading: Reading, trouble: Trouble) {
        // Without a fetcher there is nobody left to read it.
        let _ = self.common.returned.send(Returned { reading, trouble });
    }

    /// Waits for `future` and carries out orders meanwhile.
    async fn meanwhile<F: Future>(&mut self, future: F) -> Result<F::Output, Gone> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return Err(Gone),
                },
                output = &mut future => return Ok(output),
            }
        }
    }

    /// Nothing to fetch: waits for an order or the end of a partition's backoff.
    async fn rest(&mut self) -> Result<(), Gone> {
        let alarm = self.alarm();
        tokio::select! {
            biased;
            order = self.orders.recv() => order.map(|o| self.obey(o)).ok_or(Gone),
            () = alarm => Ok(()),
        }
    }

    /// The end of a partition's backoff.
    fn alarm(&self) -> impl Future<Output = ()> + Send + use<> {
        let (env, wake) = (self.common.cluster.env().clone(), self.table.next_wake());
        async move {
            match wake {
                Some(at) => env.sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn nap(&mut self) -> Result<(), Gone> {
        let env = self.common.cluster.env().clone();
        let pause = env.random(|rng| self.backoff.next(rng));
        self.meanwhile(env.sleep(pause)).await
    }

    /// Waits until the readers need more: they have been given most of what was read ahead, or one of them all of its own.
    /// Not for long in any case: what the broker says of a partition's end is to stay true, and its session alive.
    async fn hold_back(&mut self, arrived: &mut Arrived) -> Result<(), Gone> {
        if self.table.unread() <= self.ahead() {
            return Ok(());
        }
        self.open(std::mem::take(arrived)).await;
        let (lead, env) = (self.table.lead().clone(), self.common.cluster.env().clone());
        let until = env.now() + MAX_HOLD;
        loop {
            self.table.tell_when_hungry();
            // Before what the partitions say, so that what is read in between wakes early and never late.
            let before = lead.unread();
            let excess = self.table.unread() - self.ahead();
            if excess <= 0 || env.now() >= until {
                return Ok(());
            }
            lead.wait_until(before - excess);
            let alarm = self.alarm();
            tokio::select! {
                biased;
                order = self.orders.recv() => order.map(|o| self.obey(o)).ok_or(Gone)?,
                () = lead.fallen() => {}
                () = alarm => self.table.wake(env.now()),
                () = env.sleep_until(until) => {}
            }
        }
    }

    /// Bytes that readers may have not come to when the next answer is asked for: what is handled, and enough to go on with.
    /// What waits longer leaves the processor's caches.
    fn ahead(&self) -> i64 {
        self.pace.limit().saturating_mul(2).max(self.opened)
    }

    /// Sends the next Fetch. Whenever that has to wait, what has arrived is opened first: it may be what holds the
    /// budget. `None` after a failure, slept off, or when nothing is to be fetched any more.
    async fn send(&mut self, arrived: &mut Arrived) -> Result<Option<Flight>, Gone> {
        let Some(connection) = self.connected(arrived).await? else { return Ok(None) };
        let reservation = self.reserve(arrived).await?;
        self.catch_up()?;
        if self.table.is_idle() {
            return Ok(None);
        }
        if self.table.take_restless() {
            self.quiet = 0;
        }
        let (env, config) = (self.common.cluster.env(), &self.common.config);
        let wait = max_wait(self.quiet, config.max_wait);
        let plan = self.table.plan();
        let terms = Terms {
            isolation: self.key.isolation,
            max_wait_ms: wait.as_millis() as i32,
            min_bytes: config.min_bytes,
            max_bytes: i32::try_from(reservation.bytes()).unwrap_or(i32::MAX),
        };
        let limit = wait + self.common.cluster.config().request_timeout;
        let started = request::version(&connection, plan.by_id).and_then(|version| {
            let request = request::build(plan, version, &terms);
            connection.start(&request, version, limit)
        });
        match started {
            Ok(pending) => Ok(Some(Flight { pending, reservation, sent: env.now(), wait })),
            Err(error) => {
                drop(reservation);
                self.fail(&error).await?;
                Ok(None)
            }
        }
    }

    async fn connected(&mut self, arrived: &mut Arrived) -> Result<Option<Connection>, Gone> {
        if let Some(connection) = self.connection.as_ref().filter(|c| !c.is_closed()) {
            return Ok(Some(connection.clone()));
        }
        self.open(std::mem::take(arrived)).await;
        let cluster = self.common.cluster.clone();
        let use_ = if self.key.nth == 0 { Use::Fetch(self.key.isolation) } else { Use::OneOff };
        match self.meanwhile(cluster.connection(self.key.broker, use_)).await? {
            Ok(connection) => Ok(Some(self.connection.insert(connection).clone())),
            Err(error) => {
                self.fail(&error).await?;
                Ok(None)
            }
        }
    }

    async fn reserve(&mut self, arrived: &mut Arrived) -> Result<Reservation, Gone> {
        let budget = self.common.budget.clone();
        let sources = self.common.sources.load(Ordering::Acquire).max(1) as i64;
        let most = self.pace.limit();
        // Where there are many sources: two answers each.
        let want = (budget.capacity() / (2 * sources)).clamp(1, most);
        let least = (want / 16).clamp(1, LEAST);
        if let Some(reservation) = budget.try_reserve(least, want) {
            return Ok(reservation);
        }
        self.open(std::mem::take(arrived)).await;
        self.meanwhile(budget.reserve(least, want)).await
    }

    /// The request could not be sent, or got no answer.
    async fn fail(&mut self, error: &crate::Error) -> Result<(), Gone> {
        let broker = self.key.broker;
        if error.is_retriable() {
            tracing::debug!(target: "dispatcher::client::fetch", broker, %error, "fetch failed");
        } else {
            tracing::warn!(target: "dispatcher::client::fetch", broker, %error, "fetch failed, trying again");
        }
        if error.is_refusal() {
            self.table.not_let_in(error);
        }
        self.table.on_lost();
        self.connection = None;
        self.common.cluster.refresh();
        self.nap().await
    }

    async fn receive(&mut self, flight: Flight) -> Result<Arrived, Gone> {
        let Flight { pending, reservation, sent, wait } = flight;
        let idle_since = self.common.cluster.env().now();
        match self.outcome(pending, sent + wait).await? {
            Ok(response) if response.error_code == ErrorCode::NONE => {
                self.backoff.reset();
                let bytes = bytes_of(&response);
                let waited = self.common.cluster.env().now().saturating_duration_since(idle_since);
                self.pace.answered(bytes, waited);
                let charge = Arc::new(reservation.settle(bytes));
                let work = self.take_in(response, sent, wait).await?;
                Ok(Arrived { work, charge: Some(charge) })
            }
            Ok(response) => {
                let (code, broker) = (response.error_code, self.key.broker);
                tracing::debug!(target: "dispatcher::client::fetch", broker, code = code.name(), "fetch refused");
                self.table.on_error(code);
                if matches!(code, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR | ErrorCode::UNKNOWN_TOPIC_ID) {
                    self.common.cluster.refresh();
                }
                // A session that was evicted is replaced at once; when that fails again, time has to pass.
                if self.backoff.failures() == 0 && code == ErrorCode::FETCH_SESSION_ID_NOT_FOUND {
                    self.common.cluster.env().random(|rng| self.backoff.next(rng));
                } else {
                    drop(reservation);
                    self.nap().await?;
                }
                Ok(Arrived::default())
            }
            Err(error) => {
                drop(reservation);
                self.fail(&error).await?;
                Ok(Arrived::default())
            }
        }
    }

    /// Waits for the answer. What is attached or resumed meanwhile is asked for over the control connection, outside
    /// the session and without a wait there, as long as that finds something.
    async fn outcome(
        &mut self,
        pending: Pending<FetchRequest>,
        due: Instant,
    ) -> Result<crate::Result<FetchResponse>, Gone> {
        let mut pending = pin!(pending);
        let mut express: Option<BoxFuture<'static, (crate::Result<FetchResponse>, Reservation)>> = None;
        loop {
            if express.is_none() && self.common.cluster.env().now() + WORTH_WAITING < due {
                express = self.express();
            }
            let expressed = async {
                match express.as_mut() {
                    Some(express) => express.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return Err(Gone),
                },
                // An express request still under way is dropped: its partitions are in the next plan.
                outcome = &mut pending => return Ok(outcome),
                (outcome, reservation) = expressed => {
                    express = None;
                    match outcome {
                        Ok(response) if response.error_code == ErrorCode::NONE => {
                            let charge = Arc::new(reservation.settle(bytes_of(&response)));
                            let now = self.common.cluster.env().now();
                            let env = self.common.cluster.env().clone();
                            let answered = env.random(|rng| self.table.answer_outside(response, now, rng));
                            let (work, _) = self.act_on(answered, &[]);
                            self.open(Arrived { work, charge: Some(charge) }).await;
                        }
                        // The session's own request is going to say so.
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        }
    }

    fn express(&mut self) -> Option<BoxFuture<'static, (crate::Result<FetchResponse>, Reservation)>> {
        let reservation = self.common.budget.try_reserve(1 << 16, LEAST)?;
        let plan = self.table.plan_outside()?;
        let (cluster, broker) = (self.common.cluster.clone(), self.key.broker);
        let terms = Terms {
            isolation: self.key.isolation,
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: i32::try_from(reservation.bytes()).unwrap_or(i32::MAX),
        };
        Some(Box::pin(async move {
            let ask = async {
                let connection = cluster.connection(broker, Use::Control).await?;
                let version = request::version(&connection, plan.by_id)?;
                let request = request::build(plan, version, &terms);
                connection.call(&request, version, cluster.config().request_timeout).await
            };
            (ask.await, reservation)
        }))
    }

    async fn take_in(&mut self, mut response: FetchResponse, sent: Instant, wait: Duration) -> Result<Vec<Work>, Gone> {
        let env = self.common.cluster.env().clone();
        let now = env.now();
        let endpoints = std::mem::take(&mut response.node_endpoints);
        let answered = env.random(|rng| self.table.answer(response, now, rng));
        let (work, barren) = self.act_on(answered, &endpoints);
        self.quiet = if self.table.take_restless() { 0 } else { self.quiet.saturating_add(1) };
        self.fast_empties = if barren && now - sent < wait / 2 { self.fast_empties.saturating_add(1) } else { 0 };
        if self.fast_empties > FAST_EMPTY {
            // Whatever makes the broker answer at once without records, asking faster does not help.
            let pause = Duration::from_millis(5 << (self.fast_empties - FAST_EMPTY).min(4));
            self.meanwhile(env.sleep(pause)).await?;
        }
        Ok(work)
    }

    fn act_on(&self, answered: Answered, endpoints: &[NodeEndpoint]) -> (Vec<Work>, bool) {
        let Answered { work, given_back, leaders, barren } = answered;
        if !leaders.is_empty() {
            let endpoints: Vec<_> = endpoints.iter().filter_map(endpoint).collect();
            self.common.cluster.learn_leaders(&leaders, &endpoints);
        }
        for (reading, trouble) in given_back {
            self.give_back(reading, trouble);
        }
        (work, barren)
    }

    /// Checks, decompresses and delivers.
    async fn open(&mut self, arrived: Arrived) {
        let Arrived { work, charge } = arrived;
        let Some(charge) = charge else { return };
        self.opened = 0;
        for mut work in work {
            let raw = std::mem::take(&mut work.scan.kept);
            let mut batches = Vec::with_capacity(raw.len());
            let mut bad = work.scan.bad.take();
            // A reader that lags must not keep whole frames in memory for the sake of its few batches in each.
            let lags = work.link.pinned() > self.common.budget.capacity() / MAX_PINNED;
            let pin = (!lags && !raw.is_empty()).then(|| work.link.pin(charge.clone()));
            for raw in raw {
                if is_compressed(&raw) && !batches.is_empty() && !self.common.budget.has_room(&self.inflated) {
                    // What is opened takes the room that the next one waits for: only its reader can make room.
                    self.deliver_opened(&work, std::mem::take(&mut batches));
                }
                match self.open_one(raw, &work, pin.as_ref()).await {
                    Ok(batch) => {
                        self.opened += batch.as_ref().map_or(0, |batch| batch.batch.data().len() as i64);
                        batches.extend(batch);
                    }
                    Err(skipped) if work.link.options().on_bad_batch == OnBadBatch::Skip => {
                        work.scan.skipped.push(skipped)
                    }
                    Err(first) => {
                        work.scan.next_offset = first.offset;
                        self.table.remove(work.link.id());
                        bad = Some(first);
                        break;
                    }
                }
            }
            self.deliver(work, batches, bad);
            // The workers may share this thread.
            tokio::task::yield_now().await;
        }
    }

    async fn open_one(
        &self,
        raw: RawBatch,
        work: &Work,
        frame: Option<&Arc<Pin>>,
    ) -> Result<Option<Arc<FetchedBatch>>, BadBatch> {
        let compressed = is_compressed(&raw);
        if compressed {
            self.common.budget.room(&self.inflated).await;
        }
        let limits = Limits { max_decompressed: self.common.config.max_decompressed };
        let frame = frame.filter(|_| !compressed);
        let raw = if frame.is_some() || compressed { raw } else { raw.to_owned_memory() };
        let Some(opened) = parse::open(raw, work.from, &limits)? else { return Ok(None) };
        let bytes = opened.batch.data().len();
        let memory = match frame {
            Some(frame) => Memory::Frame(frame.clone()),
            None => Memory::Own(self.common.budget.charge(bytes as i64, self.inflated.clone())),
        };
        Ok(Some(Arc::new(FetchedBatch {
            tp: work.link.tp().clone(),
            epoch: work.link.epoch(),
            batch: opened.batch,
            start: opened.start,
            count: opened.count,
            lease: work.link.lease(bytes, memory, self.table.lead()),
        })))
    }

    /// The first batches of a block whose rest is not opened yet.
    fn deliver_opened(&self, work: &Work, batches: Vec<Arc<FetchedBatch>>) {
        let Some(last) = batches.last().map(|b| *b.batch.header()) else { return };
        let Work { link, high_watermark, last_stable, .. } = work;
        link.deliver(Fetched {
            tp: link.tp().clone(),
            epoch: link.epoch(),
            batches,
            next_offset: last.next_offset(),
            high_watermark: *high_watermark,
            last_stable: *last_stable,
        });
    }

    fn deliver(&self, work: Work, batches: Vec<Arc<FetchedBatch>>, bad: Option<BadBatch>) {
        let Work { link, scan, high_watermark, last_stable, hold, .. } = work;
        for skipped in scan.skipped {
            skipped.tell_skipped(&link);
        }
        link.deliver(Fetched {
            tp: link.tp().clone(),
            epoch: link.epoch(),
            batches,
            next_offset: scan.next_offset,
            high_watermark,
            last_stable,
        });
        if let Some(bad) = bad {
            report_bad(&link, &bad);
        }
        drop(hold);
    }
}

fn is_compressed(batch: &RawBatch) -> bool {
    batch.header().attributes & 7 != 0
}

fn bytes_of(response: &FetchResponse) -> i64 {
    let partitions = response.responses.iter().flat_map(|t| &t.partitions);
    partitions.map(|p| p.records.as_ref().map_or(0, Records::len) as i64).sum()
}

fn endpoint(node: &NodeEndpoint) -> Option<BrokerMeta> {
    let port = u16::try_from(node.port).ok()?;
    let rack = node.rack.as_ref().map(|r| Arc::from(r.as_str()));
    Some(BrokerMeta { id: node.node_id, host: node.host.as_str().into(), port, rack })
}
