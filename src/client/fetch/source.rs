//! The driver of one fetch session: one task per broker and isolation level. It sends the next Fetch as soon as the
//! headers of the last answer are read and the readers have not enough to go on with (`asking.rs`), opens and delivers
//! that answer's batches while the broker works (`opening.rs`), and hands partitions that went elsewhere back to the
//! fetcher. Where the broker had little, that is delivered before the next Fetch is sent: then it is time that counts,
//! not throughput. Idle, it costs one request of a few bytes per long poll.

mod asking;
mod opening;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::budget::{Budget, Charge};
use super::config::FetchConfig;
use super::delivery::Link;
use super::pace::Pace;
use super::reading::{Reading, Trouble};
use super::table::{Table, Work};
use crate::client::retry::Backoff;
use crate::client::types::Isolation;
use crate::client::{Cluster, TopicId};
use crate::net::Connection;
use crate::wire::records::Limits;

/// How long nothing is asked for while the readers have enough.
const MAX_HOLD: Duration = Duration::from_secs(10);

/// What little has arrived is handled before the next Fetch is sent: to write that takes longer than to handle a few
/// records, and wakes a broker that may want the same processor. Handling that takes longer than this, as by handlers that
/// compute, must not keep the Fetch back:
const LONG_TURN: Duration = Duration::from_millis(1);
/// for so long after a long turn the Fetch is sent first.
const FETCH_FIRST: Duration = Duration::from_secs(1);

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
    pub(super) limits: Limits,
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
    /// Ahead of now after a long turn: see `LONG_TURN`.
    fetch_first_until: Instant,
    /// Cloned by every charge for decompressed bytes.
    inflated: Arc<()>,
}

/// An answer whose batches are not opened yet.
#[derive(Default)]
struct Arrived {
    work: Vec<Work>,
    /// The broker had no more, as it seems, and to open it is no work to speak of.
    little: bool,
    charge: Option<Arc<Charge>>,
}

impl Source {
    pub(super) fn new(key: SourceKey, common: Common, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        Self {
            table: Table::new(key.isolation, common.budget.clone(), common.config.max_bytes),
            backoff: Backoff::new(common.cluster.config().retry_backoff),
            pace: Pace::new(common.config.max_bytes),
            opened: 0,
            fetch_first_until: common.cluster.env().now(),
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
            if arrived.little && self.common.cluster.env().now() >= self.fetch_first_until {
                self.open(std::mem::take(&mut arrived)).await;
                self.give_turn().await;
            }
            self.catch_up(&mut arrived).await?;
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

    /// To the readers, which may share this thread.
    async fn give_turn(&mut self) {
        let env = self.common.cluster.env().clone();
        let given = env.now();
        tokio::task::yield_now().await;
        let back = env.now();
        if back - given > LONG_TURN {
            self.fetch_first_until = back + FETCH_FIRST;
        }
    }

    /// Carries out what has been ordered, without waiting for orders. What has arrived is opened before: a partition may
    /// go elsewhere, and what is read there comes behind it.
    async fn catch_up(&mut self, arrived: &mut Arrived) -> Result<(), Gone> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => {
                    self.open(std::mem::take(arrived)).await;
                    self.obey(order);
                }
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
}
