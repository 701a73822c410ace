//! The loop of one broker: which queues are due, when to connect, what is under way.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::request::{Answered, Landed, RequestBuilder, UnderWay};
use super::window::{Sent, Window};
use super::{Inbox, NO_LEADER, Router, identity};
use crate::client::cluster::{Cluster, Use};
use crate::client::producer::queue::{PartitionQueue, Take};
use crate::client::retry::Backoff;
use crate::env::lock;
use crate::error::{Error, Result};
use crate::net::Connection;

/// While partitions wait for a leader, it is asked for this often.
const LEADER_POLL: Duration = Duration::from_millis(500);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// See the module.
pub(super) struct Drain {
    broker: i32,
    cluster: Cluster,
    router: Weak<Router>,
    inbox: Arc<Inbox>,
    slots: BTreeMap<u64, Slot>,
    /// The last queue that was served: the next request begins behind it.
    served: u64,
    connection: Option<Connection>,
    opening: Option<Task<Result<Connection>>>,
    backoff: Backoff,
    /// In the order of requests, which is that of answers: only the first is looked at.
    flights: VecDeque<Flight>,
    window: Window,
}

/// A request under way.
struct Flight {
    sent: Sent,
    batches: UnderWay,
    answer: Task<Answered>,
}

/// A queue this task has to look at.
struct Slot {
    queue: Arc<PartitionQueue>,
    /// When it may have something to send.
    due: Instant,
    /// When one of its batches runs out of time.
    deadline: Instant,
}

impl Drain {
    pub(super) fn new(broker: i32, cluster: Cluster, router: Weak<Router>, inbox: Arc<Inbox>) -> Self {
        let backoff = Backoff::new(cluster.config().retry_backoff);
        Self {
            broker,
            cluster,
            router,
            inbox,
            slots: BTreeMap::new(),
            served: 0,
            connection: None,
            opening: None,
            backoff,
            flights: VecDeque::new(),
            window: Window::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let env = self.cluster.env().clone();
        let mut changes = self.cluster.changes();
        let inbox = self.inbox.clone();
        loop {
            let mut now = env.now();
            if self.read_mail(now) && self.flights.is_empty() {
                return;
            }
            self.route(now);
            while self.can_send() && self.send(now) {
                now = env.now();
            }
            if self.flight_deadline().is_some_and(|deadline| deadline <= now) {
                self.expire_under_way(now);
            }
            self.expire(now);
            self.connect();
            let wake_at = self.wake_at(now);
            tokio::select! {
                biased;
                (sent, landed) = landing(&mut self.flights) => self.landed(sent, landed),
                opened = connecting(&mut self.opening) => self.opened(opened),
                () = inbox.arrived.notified() => {}
                Ok(()) = changes.changed() => {
                    changes.mark_unchanged();
                    self.slots.values_mut().for_each(|slot| slot.due = now);
                }
                () = env.sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
            }
        }
    }

    /// Takes in submitted queues; true when there will never be more.
    fn read_mail(&mut self, now: Instant) -> bool {
        let mut mail = lock(&self.inbox.new);
        for queue in mail.queues.drain(..) {
            let id = queue.id();
            self.slots.insert(id, Slot { queue, due: now, deadline: now });
        }
        mail.closed
    }

    fn can_send(&mut self) -> bool {
        if self.connection.as_ref().is_some_and(Connection::is_closed) {
            self.connection = None;
        }
        self.connection.is_some() && self.room().is_some()
    }

    fn under_way(&self) -> usize {
        self.flights.iter().map(|flight| flight.sent.bytes).sum()
    }

    fn room(&self) -> Option<usize> {
        self.window.room(self.flights.len(), self.under_way())
    }

    /// Hands queues whose leader is another broker to that one's task, once nothing of theirs is under way here.
    fn route(&mut self, now: Instant) {
        if !self.slots.values().any(|slot| slot.due <= now) {
            return;
        }
        let Some(router) = self.router.upgrade() else { return };
        let topology = self.cluster.topology();
        let moved = |slot: &Slot| {
            let leader = topology.partition(slot.queue.tp()).map_or(NO_LEADER, |p| p.leader).max(NO_LEADER);
            slot.due <= now && leader != self.broker && slot.queue.in_flight() == 0
        };
        let leaving: Vec<u64> = self.slots.iter().filter(|(_, slot)| moved(slot)).map(|(id, _)| *id).collect();
        for slot in leaving.iter().filter_map(|id| self.slots.remove(id)) {
            slot.queue.retry_now();
            router.submit(&slot.queue);
        }
        if self.broker == NO_LEADER && !self.slots.is_empty() {
            // Of a topic that was removed, and made again, nobody else may ask any more.
            let topics = self.slots.values().map(|slot| &slot.queue.tp().topic);
            self.cluster.want(topics.filter(|name| topology.topic(name).is_none()));
        }
    }

    /// Sends one request with a batch of each queue that is due, as far as they fit; false if none was.
    fn send(&mut self, now: Instant) -> bool {
        let (Some(connection), Some(room)) = (self.connection.clone(), self.room()) else { return false };
        let topology = self.cluster.topology();
        let mut request = RequestBuilder::new(topology.clone(), room);
        let order = self.slots.range(self.served + 1..).chain(self.slots.range(..=self.served));
        let due: Vec<u64> = order.filter(|(_, slot)| slot.due <= now).map(|(&id, _)| id).collect();
        for id in due {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            if topology.partition(slot.queue.tp()).is_some_and(|p| p.leader != self.broker) {
                // Its batches under way here are waited for; the last answer brings it back. Those behind them may run out
                // of time meanwhile.
                if slot.deadline <= now {
                    match slot.queue.expire(now) {
                        Some(deadline) => slot.deadline = deadline,
                        None => {
                            self.slots.remove(&id);
                            continue;
                        }
                    }
                }
                slot.due = slot.deadline;
                continue;
            }
            match slot.queue.take(now, self.broker) {
                Take::Batch(batch) => {
                    self.served = id;
                    request.push(batch);
                    if request.is_full() {
                        break;
                    }
                }
                Take::Later(at) => slot.due = at,
                Take::NeedsIdentity(at) => {
                    slot.due = at;
                    identity::obtain(&self.cluster, &slot.queue);
                }
                Take::Idle => {
                    self.slots.remove(&id);
                }
            }
        }
        // Compressing may have taken a while.
        let at = self.cluster.env().now();
        let Some(limit) = request.limit() else { return false };
        let sent = Sent { bytes: request.bytes(), under_way: self.under_way() + request.bytes(), at, limit };
        match request.start(&connection, self.broker, limit) {
            Ok((batches, answer)) => {
                self.flights.push_back(Flight { sent, batches, answer: Box::pin(answer) });
                true
            }
            Err(landed) => {
                self.land(landed);
                false
            }
        }
    }

    /// When a batch under way runs out of time.
    fn flight_deadline(&self) -> Option<Instant> {
        self.flights.iter().filter_map(|flight| flight.batches.deadline()).min()
    }

    /// What is under way has run out of time, unless it has been answered meanwhile, as after a standstill.
    fn expire_under_way(&mut self, now: Instant) {
        while let Some((sent, landed)) = landing(&mut self.flights).now_or_never() {
            self.landed(sent, landed);
        }
        self.flights.iter_mut().for_each(|flight| flight.batches.expire(now));
    }

    /// While nothing can be sent, what waits still runs out of time.
    fn expire(&mut self, now: Instant) {
        if self.can_send() {
            return;
        }
        self.slots.retain(|_, slot| {
            if slot.deadline <= now {
                match slot.queue.expire(now) {
                    Some(deadline) => slot.deadline = deadline,
                    None => return false,
                }
            }
            true
        });
    }

    fn connect(&mut self) {
        let wanted = self.broker != NO_LEADER && !self.slots.is_empty();
        if wanted && self.connection.is_none() && self.opening.is_none() {
            let (cluster, broker) = (self.cluster.clone(), self.broker);
            let pause = match self.backoff.failures() {
                0 => Duration::ZERO,
                _ => self.cluster.env().random(|rng| self.backoff.next(rng)),
            };
            self.opening = Some(Box::pin(async move {
                cluster.env().sleep(pause).await;
                cluster.connection(broker, Use::Produce).await
            }));
        }
    }

    fn opened(&mut self, opened: Result<Connection>) {
        self.opening = None;
        match opened {
            Ok(connection) => {
                self.backoff.reset();
                self.connection = Some(connection);
            }
            Err(error) => {
                tracing::debug!(target: "dispatcher::client", broker = self.broker, %error, "cannot produce");
                let _counted = self.cluster.env().random(|rng| self.backoff.next(rng));
                let now = self.cluster.env().now();
                for slot in self.slots.values_mut() {
                    if error.is_refusal() {
                        // As with Java: senders hear of it now, not when their time is over.
                        slot.queue.fail(&error);
                        slot.deadline = now;
                    } else {
                        slot.queue.note(&error);
                    }
                }
                self.cluster.refresh();
            }
        }
    }

    /// When to look again if nothing else happens.
    fn wake_at(&mut self, now: Instant) -> Option<Instant> {
        let earliest = if self.can_send() {
            self.slots.values().map(|slot| slot.due).min()
        } else {
            self.slots.values().map(|slot| slot.deadline).min()
        };
        let earliest = match self.broker {
            NO_LEADER => earliest.map(|at| at.min(now + LEADER_POLL)),
            _ => earliest,
        };
        self.flight_deadline().into_iter().chain(earliest).min()
    }

    /// A request has come to its end.
    fn landed(&mut self, sent: Sent, landed: Landed) {
        self.window.landed(sent, landed.is_lost(), self.cluster.env().now());
        self.land(landed);
    }

    /// Settles the batches of an answered, or lost, request.
    fn land(&mut self, landed: Landed) {
        let now = self.cluster.env().now();
        let mut error: Option<Error> = None;
        for (batch, outcome) in landed.judge(&self.cluster, self.broker, &mut error) {
            let queue = batch.queue.clone();
            queue.settle(batch, outcome, now);
            let slot = self.slots.entry(queue.id()).or_insert_with(|| Slot { queue, due: now, deadline: now });
            // A batch that has to wait again is older than what the deadline was taken from while it was under way.
            (slot.due, slot.deadline) = (now, now);
        }
        if let Some(error) = error {
            tracing::debug!(target: "dispatcher::client", broker = self.broker, %error, "produce request failed");
            self.cluster.refresh();
        }
    }
}

/// The first request, once it has come to its end; never if none is under way. Cancel-safe.
async fn landing(flights: &mut VecDeque<Flight>) -> (Sent, Landed) {
    if let Some(first) = flights.front_mut() {
        let answer = (&mut first.answer).await;
        if let Some(Flight { sent, batches, .. }) = flights.pop_front() {
            return (sent, batches.landed(answer));
        }
    }
    std::future::pending().await
}

/// The connection, once it is open; never if none is being opened.
async fn connecting(opening: &mut Option<Task<Result<Connection>>>) -> Result<Connection> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}
