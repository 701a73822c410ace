//! What a connection's callers and its driver share: the table of requests under way, what waits to be written, and
//! the socket's writing half. Lock order: sink before table; neither is held across an await.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, oneshot};

use super::outbox::Sink;
use super::table::{Table, Ticket};
use super::throttle;
use super::tls::Connector;
use crate::env::{Env, Transport, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::header::correlation_id;
use crate::wire::primitives::Frame;

/// Requests under way on one connection; callers stay far below.
const MAX_UNDER_WAY: usize = 10_000;

/// A frame, or why there is none.
pub(super) type Reply = Result<Bytes, Lost>;

/// A request whose answer will not come.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: Error,
    pub(super) maybe_sent: bool,
}

pub(super) struct Shared {
    pub(super) env: Env,
    /// `host:port`, for messages.
    pub(super) peer: Arc<str>,
    /// What secures the stream knows what broke it.
    tls: Option<Connector>,
    sink: Mutex<Sink>,
    table: Mutex<Table>,
    pub(super) driver: AtomicWaker,
    ended: Notify,
    next_id: AtomicI32,
    /// The broker has answered something: it took this client, so that what breaks the stream from now on is no refusal.
    answered: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        env: Env,
        peer: Arc<str>,
        transport: Transport,
        tls: Option<Connector>,
    ) -> (Arc<Self>, Box<dyn tokio::io::AsyncRead + Send + Unpin>) {
        let shared = Self {
            env,
            peer,
            tls,
            sink: Mutex::new(Sink::new(transport.writer)),
            table: Mutex::default(),
            driver: AtomicWaker::new(),
            ended: Notify::new(),
            next_id: AtomicI32::new(0),
            answered: AtomicBool::new(false),
        };
        (Arc::new(shared), transport.reader)
    }

    pub(super) fn next_id(&self) -> i32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a request behind those before it, and writes it if nobody else is writing.
    pub(super) fn send(&self, ticket: Ticket, frame: Frame) -> Result<oneshot::Receiver<Reply>> {
        let now = self.env.now();
        let (reply, answer) = oneshot::channel();
        let sasl = ticket.sasl;
        let (muted, rearm) = {
            let mut table = lock(&self.table);
            if let Some(error) = &table.closed {
                return Err(error.clone());
            }
            if table.len() >= MAX_UNDER_WAY {
                let message =
                    format!("{MAX_UNDER_WAY} requests to {} are under way: wait for answers first", self.peer);
                return Err(Error::new(ErrorKind::Connection, message));
            }
            let muted_until = table.muted_until.filter(|&until| until > now);
            let deadline = table.accept(ticket, frame.parts, reply, now);
            let due = muted_until.unwrap_or(deadline);
            let rearm = table.alarm.is_none_or(|alarm| due < alarm);
            table.rearm |= rearm;
            (muted_until.is_some(), rearm)
        };
        if !muted {
            self.write_as_caller();
        }
        // Behind a step of SASL the driver may have put off that the broker hung up.
        if rearm || sasl {
            self.driver.wake();
        }
        Ok(answer)
    }

    /// Writes from the caller's task, without waiting.
    fn write_as_caller(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let mut sink = match self.sink.try_lock() {
                Ok(sink) => sink,
                Err(TryLockError::Poisoned(sink)) => sink.into_inner(),
                // Whoever has it looks into the queue again after giving it back.
                Err(TryLockError::WouldBlock) => return,
            };
            if sink.blocked {
                return;
            }
            match self.write(&mut sink, &mut cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    drop(sink);
                    return self.close(error);
                }
                Poll::Pending => {
                    sink.blocked = true;
                    return self.driver.wake();
                }
            }
            drop(sink);
            if !self.has_outgoing() {
                return;
            }
        }
    }

    /// Writes from the driver's task, which the socket wakes when it takes more.
    pub(super) fn write_as_driver(&self, cx: &mut Context<'_>) -> Result<()> {
        loop {
            let mut sink = lock(&self.sink);
            match self.write(&mut sink, cx) {
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    sink.blocked = true;
                    return Ok(());
                }
            }
            sink.blocked = false;
            drop(sink);
            if !self.has_outgoing() {
                return Ok(());
            }
        }
    }

    fn write(&self, sink: &mut Sink, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if sink.is_empty() {
                let mut table = lock(&self.table);
                if !table.is_muted(|| self.env.now()) {
                    sink.take(&mut table.outgoing);
                }
            }
            if let Err(e) = std::task::ready!(sink.poll_write(cx)) {
                return Poll::Ready(Err(self.lost(e, " while sending")));
            }
            if !self.has_outgoing() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The stream failed.
    pub(super) fn lost(&self, error: std::io::Error, when: &str) -> Error {
        let new = !self.answered.load(Ordering::Relaxed);
        let explained = self.tls.as_ref().filter(|_| new).and_then(|tls| tls.explain(&error, &self.peer));
        explained.unwrap_or_else(|| {
            let message = format!("the connection to {} was lost{when}", self.peer);
            Error::new(ErrorKind::Connection, message).with_source(error)
        })
    }

    fn has_outgoing(&self) -> bool {
        let mut table = lock(&self.table);
        !table.outgoing.is_empty() && !table.is_muted(|| self.env.now())
    }

    /// Hands a frame to whoever waits for it.
    pub(super) fn deliver(&self, frame: Bytes) -> Result<()> {
        let protocol = |what: String| Err(Error::new(ErrorKind::Protocol, format!("{} {what}", self.peer)));
        let Some(id) = correlation_id(&frame) else { return protocol("sent a frame too short for an answer".into()) };
        let entry = {
            let mut table = lock(&self.table);
            match table.under_way.front() {
                Some(entry) if entry.correlation_id == id => {}
                Some(entry) => {
                    let expected = entry.correlation_id;
                    return protocol(format!(
                        "answered request {id}, but {expected} was the next: it is not a Kafka broker"
                    ));
                }
                None => return protocol(format!("answered request {id}, which was not asked")),
            }
            table.under_way.pop_front()
        };
        if let Some(entry) = entry {
            self.answered.store(true, Ordering::Relaxed);
            if let Some(time) = throttle::read(&frame, entry.throttle_at) {
                self.mute(time);
            }
            // The caller may be gone; the stream goes on.
            let _ = entry.reply.send(Ok(frame));
        }
        Ok(())
    }

    /// Sends nothing for `time` (KIP-219). Requests that wait get that much more time.
    pub(super) fn mute(&self, time: Duration) {
        let now = self.env.now();
        let until = now + time.min(throttle::MAX_MUTE);
        tracing::debug!(target: "dispatcher::net", peer = %self.peer, ?time, "throttled by the broker");
        let mut table = lock(&self.table);
        let before = table.muted_until.filter(|&b| b > now).unwrap_or(now);
        if until > before {
            table.muted_until = Some(until);
            table.rearm = true;
            table.prolong(until - before);
            drop(table);
            self.driver.wake();
        }
    }

    /// For the driver: whether its timer is to be set anew. Requests with later limits leave it alone: it goes off
    /// early then, which is rarer than requests are.
    pub(super) fn take_rearm(&self) -> bool {
        std::mem::take(&mut lock(&self.table).rearm)
    }

    /// For the driver: an error if a request is overdue, else when to look again; `None`: when told to.
    pub(super) fn check_time(&self, now: Instant) -> Result<Option<Instant>> {
        let mut table = lock(&self.table);
        if let Some(late) = table.entries().find(|e| e.deadline <= now) {
            let (peer, api, limit) = (&self.peer, late.api, late.limit);
            let message =
                format!("{peer} did not answer {api} within {limit:?}: it is overloaded, stopped or unreachable");
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        let mut alarm = table.entries().map(|e| e.deadline).min();
        if table.is_muted(|| now) && !table.outgoing.is_empty() {
            alarm = [alarm, table.muted_until].into_iter().flatten().min();
        }
        table.alarm = alarm;
        Ok(alarm)
    }

    /// The last handle is gone.
    pub(super) fn release(&self) {
        lock(&self.table).draining = true;
        self.driver.wake();
        self.ended.notify_one();
    }

    /// Waits until the connection is closed or its last handle is gone; for one who waits.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Nothing but SASL is written from now on until [`resume`](Self::resume). What is under way is still answered.
    pub(super) fn hold(&self) {
        lock(&self.table).hold();
    }

    /// Whether a step of SASL was answered and whoever asked has yet to look at it: a broker that refuses hangs up right
    /// behind its answer, and the answer says more.
    pub(super) fn is_deciding(&self) -> bool {
        lock(&self.table).is_deciding()
    }

    pub(super) fn resume(&self) {
        lock(&self.table).resume();
        self.write_as_caller();
        self.driver.wake();
    }

    /// Whether the driver has nothing left to do.
    pub(super) fn is_drained(&self) -> bool {
        let table = lock(&self.table);
        table.draining && table.entries().all(|e| e.reply.is_closed())
    }

    pub(super) fn closed_with(&self) -> Option<Error> {
        lock(&self.table).closed.clone()
    }

    /// Ends the connection: everything under way fails with `error`. The first error stays.
    pub(super) fn close(&self, error: Error) {
        {
            let mut table = lock(&self.table);
            if table.closed.is_some() {
                return;
            }
            table.closed = Some(error.clone());
        }
        // Nothing is accepted any more, so no request can begin after this.
        let started = lock(&self.sink).close();
        let under_way = lock(&self.table).take_all();
        tracing::debug!(target: "dispatcher::net", peer = %self.peer, under_way = under_way.len(), %error, "connection closed");
        for entry in under_way {
            let maybe_sent = entry.number < started;
            let _ = entry.reply.send(Err(Lost { error: error.clone(), maybe_sent }));
        }
        self.driver.wake();
        self.ended.notify_one();
    }
}
