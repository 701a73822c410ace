//! Asking: a Fetch, what has to be waited for before it can be sent, and its answer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::opening::is_little;
use super::{Arrived, Gone, Source};
use crate::client::Use;
use crate::client::fetch::budget::Reservation;
use crate::client::fetch::request::{self, Terms};
use crate::client::fetch::table::{Answered, Work, max_wait};
use crate::client::topology::BrokerMeta;
use crate::net::{Connection, Pending};
use crate::wire::messages::fetch::NodeEndpoint;
use crate::wire::messages::{FetchRequest, FetchResponse};
use crate::wire::{ErrorCode, Records};

/// Answers without records that come faster than asked before the source slows down.
const FAST_EMPTY: u32 = 3;
/// Fewer free bytes than this are not worth a request.
const LEAST: i64 = 1 << 20;
/// A partition that comes does not wait longer than this behind the request under way.
const WORTH_WAITING: Duration = Duration::from_millis(30);

/// A request under way.
pub(super) struct Flight {
    pending: Pending<FetchRequest>,
    reservation: Reservation,
    sent: Instant,
    wait: Duration,
}

impl Source {
    /// Sends the next Fetch. Whenever that has to wait, what has arrived is opened first: it may be what holds the
    /// budget. `None` after a failure, slept off, or when nothing is to be fetched any more.
    pub(super) async fn send(&mut self, arrived: &mut Arrived) -> Result<Option<Flight>, Gone> {
        let Some(connection) = self.connected(arrived).await? else { return Ok(None) };
        let reservation = self.reserve(arrived).await?;
        self.catch_up(arrived).await?;
        if self.table.is_idle() {
            return Ok(None);
        }
        if self.table.take_restless() {
            self.quiet = 0;
        }
        let (env, config) = (self.common.cluster.env(), &self.common.config);
        let wait = max_wait(self.quiet, config.max_wait);
        let plan = self.table.plan();
        let terms = self.terms(wait, config.min_bytes, &reservation);
        let limit = wait + self.common.cluster.config().request_timeout;
        let started = request::version(&connection, plan.by_id).and_then(|version| {
            let request = request::build(plan, version, &terms);
            connection.start(&request, version, limit)
        });
        match started {
            Ok(pending) => Ok(Some(Flight { pending, reservation, sent: env.now(), wait })),
            Err(error) => {
                drop(reservation);
                self.open(std::mem::take(arrived)).await;
                self.fail(&error).await?;
                Ok(None)
            }
        }
    }

    fn terms(&self, wait: Duration, min_bytes: i32, reservation: &Reservation) -> Terms {
        Terms {
            isolation: self.key.isolation,
            max_wait_ms: wait.as_millis() as i32,
            min_bytes,
            max_bytes: i32::try_from(reservation.bytes()).unwrap_or(i32::MAX),
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

    pub(super) async fn receive(&mut self, flight: Flight) -> Result<Arrived, Gone> {
        let Flight { pending, reservation, sent, wait } = flight;
        let idle_since = self.common.cluster.env().now();
        match self.outcome(pending, sent + wait).await? {
            Ok(response) if response.error_code == ErrorCode::NONE => {
                self.backoff.reset();
                let bytes = bytes_of(&response);
                let waited = self.common.cluster.env().now().saturating_duration_since(idle_since);
                self.pace.answered(bytes, waited, || self.table.held());
                // Else there is more where this came from.
                let all = bytes < reservation.bytes() / 4;
                let charge = Arc::new(reservation.settle(bytes));
                let work = self.take_in(response, sent, wait).await?;
                Ok(Arrived { little: all && is_little(&work), work, charge: Some(charge) })
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
                            self.open(Arrived { work, charge: Some(charge), ..Arrived::default() }).await;
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
        let terms = self.terms(Duration::ZERO, 0, &reservation);
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
