//! The requests of one connection: those under way, those that wait to be written, and those that wait for the
//! connection to have authenticated again. A machine; `shared.rs` keeps it behind a lock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::outbox::Chunk;
use super::shared::Reply;
use crate::error::Error;

#[derive(Default)]
pub(super) struct Table {
    /// In the order of writing, which is the order of answers.
    pub(super) under_way: VecDeque<Entry>,
    pub(super) outgoing: VecDeque<Chunk>,
    /// What may not be written before SASL is done; `None` while anything may.
    held: Option<VecDeque<(Entry, Vec<Bytes>)>>,
    /// Requests ever put among the outgoing; the number of the next one.
    queued: u64,
    pub(super) muted_until: Option<Instant>,
    /// What the driver's timer is set to.
    pub(super) alarm: Option<Instant>,
    /// The driver's timer is to be set anew.
    pub(super) rearm: bool,
    /// The last handle is gone: end when nobody waits for an answer any more.
    pub(super) draining: bool,
    pub(super) closed: Option<Error>,
}

pub(super) struct Entry {
    pub(super) correlation_id: i32,
    /// Its place in the order of writing.
    pub(super) number: u64,
    pub(super) deadline: Instant,
    pub(super) api: &'static str,
    pub(super) limit: Duration,
    pub(super) throttle_at: usize,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What a request is, apart from its bytes.
pub(super) struct Ticket {
    pub(super) correlation_id: i32,
    pub(super) api: &'static str,
    pub(super) limit: Duration,
    pub(super) throttle_at: usize,
    /// Whether it is part of authenticating, which nothing holds up.
    pub(super) sasl: bool,
}

/// Not written yet, nor about to be.
const UNNUMBERED: u64 = u64::MAX;

impl Table {
    /// Takes a request in; its deadline.
    pub(super) fn accept(
        &mut self,
        ticket: Ticket,
        parts: Vec<Bytes>,
        reply: oneshot::Sender<Reply>,
        now: Instant,
    ) -> Instant {
        let Ticket { correlation_id, api, limit, throttle_at, sasl } = ticket;
        let from = self.muted_until.filter(|&until| until > now).unwrap_or(now);
        // Whoever authenticates again queues behind requests that may have longer limits, and holds up others.
        let behind = self.under_way.iter().map(|e| e.deadline).max().filter(|_| sasl);
        let deadline = behind.map_or(from, |latest| latest.max(from)) + limit;
        let entry = Entry { correlation_id, number: UNNUMBERED, deadline, api, limit, throttle_at, reply };
        match &mut self.held {
            Some(held) if !sasl => held.push_back((entry, parts)),
            _ => self.queue(entry, parts),
        }
        deadline
    }

    fn queue(&mut self, entry: Entry, parts: Vec<Bytes>) {
        self.under_way.push_back(Entry { number: self.queued, ..entry });
        self.queued += 1;
        let parts = parts.into_iter().enumerate();
        self.outgoing.extend(parts.map(|(i, bytes)| Chunk { bytes, first: i == 0 }));
    }

    /// From now on only SASL's requests are written; what nobody has begun to write waits too.
    pub(super) fn hold(&mut self) {
        let held = self.held.get_or_insert_default();
        let mut parts = Vec::new();
        while let Some(chunk) = self.outgoing.pop_back() {
            parts.push(chunk.bytes);
            if chunk.first
                && let Some(entry) = self.under_way.pop_back()
            {
                parts.reverse();
                self.queued -= 1;
                held.push_front((Entry { number: UNNUMBERED, ..entry }, std::mem::take(&mut parts)));
            }
        }
    }

    /// What was held goes out, in the order in which it came.
    pub(super) fn resume(&mut self) {
        for (entry, parts) in self.held.take().unwrap_or_default() {
            self.queue(entry, parts);
        }
        self.rearm = true;
    }

    pub(super) fn is_deciding(&self) -> bool {
        self.held.is_some() && self.under_way.is_empty()
    }

    /// All that somebody may wait for.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.under_way.iter().chain(self.held.iter().flatten().map(|(entry, _)| entry))
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len() + self.held.as_ref().map_or(0, VecDeque::len)
    }

    pub(super) fn prolong(&mut self, by: Duration) {
        let held = self.held.iter_mut().flatten().map(|(entry, _)| entry);
        self.under_way.iter_mut().chain(held).for_each(|entry| entry.deadline += by);
    }

    /// Gives up all of it.
    pub(super) fn take_all(&mut self) -> Vec<Entry> {
        self.outgoing.clear();
        let held = self.held.take().unwrap_or_default().into_iter().map(|(entry, _)| entry);
        std::mem::take(&mut self.under_way).into_iter().chain(held).collect()
    }

    pub(super) fn is_muted(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let Some(until) = self.muted_until else { return false };
        if until > now() {
            return true;
        }
        self.muted_until = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(table: &mut Table, id: i32, sasl: bool, limit: u64, now: Instant) -> Instant {
        let ticket =
            Ticket { correlation_id: id, api: "Test", limit: Duration::from_secs(limit), throttle_at: 0, sasl };
        let parts = vec![Bytes::from(vec![0, id as u8]), Bytes::from(vec![1, id as u8])];
        table.accept(ticket, parts, oneshot::channel().0, now)
    }

    fn written(table: &mut Table) -> Vec<(u8, bool)> {
        table.outgoing.drain(..).map(|c| (c.bytes[1], c.first)).collect()
    }

    #[test]
    fn what_was_not_begun_and_what_comes_waits_behind_sasl_in_its_order() {
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let mut table = Table::default();
        accept(&mut table, 0, false, 60, now);
        assert_eq!(written(&mut table), [(0, true), (0, false)]);
        accept(&mut table, 1, false, 5, now);
        accept(&mut table, 2, false, 5, now);
        table.hold();
        accept(&mut table, 3, false, 5, now);
        let deadline = accept(&mut table, 4, true, 5, now);
        assert_eq!(deadline, now + Duration::from_secs(65), "a request of 60 s may be answered first");
        assert_eq!(written(&mut table), [(4, true), (4, false)]);
        let numbers = |table: &Table| table.under_way.iter().map(|e| (e.correlation_id, e.number)).collect::<Vec<_>>();
        assert_eq!(numbers(&table), [(0, 0), (4, 1)]);
        assert_eq!((table.len(), table.entries().count()), (5, 5));
        table.resume();
        assert_eq!(numbers(&table), [(0, 0), (4, 1), (1, 2), (2, 3), (3, 4)]);
        let order: Vec<_> = written(&mut table).into_iter().filter(|(_, first)| *first).map(|(id, _)| id).collect();
        assert_eq!(order, [1, 2, 3]);
    }

    #[test]
    fn what_is_held_when_the_connection_ends_was_certainly_not_sent() {
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let mut table = Table::default();
        accept(&mut table, 0, false, 5, now);
        written(&mut table);
        table.hold();
        accept(&mut table, 1, false, 5, now);
        let started = 1;
        let sent: Vec<_> = table.take_all().into_iter().map(|e| e.number < started).collect();
        assert_eq!(sent, [true, false]);
    }
}
