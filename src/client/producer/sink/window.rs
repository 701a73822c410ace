//! How many bytes of Produce requests may be under way to a broker: as many as it answers well within their limit of time.
//! On a slow link a request of full size, or several, would not get through before that, and be built anew of the same batches
//! until those run out of time. Grows while it is filled and answers come soon, as a congestion window does.

use std::time::{Duration, Instant};

/// Before anything is known.
const FIRST: usize = 4 << 20;
/// A request takes no more batches from this size on. Brokers refuse above 100 MiB (`socket.request.max.bytes`).
const MAX_REQUEST: usize = 16 << 20;
/// Produce requests under way per connection. A broker works on one at a time; the others are on their way.
pub(super) const MAX_REQUESTS: usize = 5;

/// See the module.
pub(super) struct Window {
    bytes: usize,
    /// A request's limit of time.
    limit: Duration,
    /// Requests sent before this say nothing about what the window has become then.
    changed: Option<Instant>,
}

/// What is remembered of a request under way.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) bytes: usize,
    at: Instant,
    /// With those before it.
    under_way: usize,
}

impl Window {
    pub(super) fn new(limit: Duration) -> Self {
        Self { bytes: FIRST, limit, changed: None }
    }

    /// From how many bytes on the next request is full; `None`: it has to wait. With nothing under way there is always one.
    pub(super) fn room(&self, requests: usize, under_way: usize) -> Option<usize> {
        match requests {
            0 => Some(self.bytes.min(MAX_REQUEST)),
            MAX_REQUESTS.. => None,
            _ => self.bytes.checked_sub(under_way).filter(|&left| left > 0).map(|left| left.min(MAX_REQUEST)),
        }
    }

    /// A request of so many bytes goes on its way besides others.
    pub(super) fn send(&self, bytes: usize, under_way: usize, now: Instant) -> Sent {
        Sent { bytes, at: now, under_way: under_way + bytes }
    }

    /// It has been answered, or lost.
    pub(super) fn landed(&mut self, sent: Sent, lost: bool, now: Instant) {
        if self.changed.is_some_and(|changed| sent.at < changed) {
            return;
        }
        let took = now.saturating_duration_since(sent.at);
        let bytes = if took > self.limit / 2 {
            self.bytes.min(sent.under_way) / if lost { 4 } else { 2 }
        } else if !lost && sent.under_way >= self.bytes / 2 && took < self.limit / 8 {
            (self.bytes * 2).min(MAX_REQUESTS * MAX_REQUEST)
        } else {
            return;
        };
        (self.bytes, self.changed) = (bytes.max(1), Some(now));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::collections::VecDeque;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);
    const BATCH: usize = 1_000_000;

    /// Sends `batches` of a megabyte through a link of so many bytes a second, on which a request takes a millisecond
    /// besides; how long that takes, and how many requests are lost.
    fn transfer(window: &mut Window, batches: usize, bytes_per_s: f64) -> (Duration, usize) {
        let begun = Instant::now();
        let (mut now, mut free, mut left, mut lost) = (begun, begun, batches, 0);
        let mut flights: VecDeque<(Sent, usize, Instant)> = VecDeque::new();
        loop {
            let under_way: usize = flights.iter().map(|(sent, ..)| sent.bytes).sum();
            if let Some(room) = window.room(flights.len(), under_way).filter(|_| left > 0) {
                let count = room.div_ceil(BATCH).min(left);
                left -= count;
                let sent = window.send(count * BATCH, under_way, now);
                free = free.max(now) + Duration::from_secs_f64((count * BATCH) as f64 / bytes_per_s);
                flights.push_back((sent, count, free + Duration::from_millis(1)));
                continue;
            }
            let Some((sent, count, done)) = flights.pop_front() else { return (now - begun, lost) };
            if done > sent.at + LIMIT {
                // The connection ends, and everything with it.
                now = sent.at + LIMIT;
                free = now;
                for (sent, count, _) in std::iter::once((sent, count, done)).chain(flights.drain(..)) {
                    window.landed(sent, true, now);
                    lost += 1;
                    left += count;
                }
            } else {
                now = now.max(done);
                window.landed(sent, false, now);
            }
        }
    }

    #[test]
    fn a_slow_link_gets_what_passes_within_the_limit() {
        let mbit = 1e6 / 8.0;
        for (batches, speed, most) in [(40, 3.0, 130.0), (10, 1.0, 130.0), (400, 30.0, 130.0)] {
            let (took, lost) = transfer(&mut Window::new(LIMIT), batches, speed * mbit);
            let ideal = (batches * BATCH) as f64 / (speed * mbit);
            let what = format!("{batches} MB at {speed} Mbit/s: {took:?} of {ideal:.0} s, {lost} requests lost");
            assert!(took.as_secs_f64() < (ideal + 40.0).min(ideal * 1.5 + 1.0).min(most) && lost <= 5, "{what}");
        }
    }

    #[test]
    fn a_link_that_becomes_slow_costs_little_before_the_window_fits() {
        let mut window = Window::new(LIMIT);
        let (took, lost) = transfer(&mut window, 2_000, 1e9);
        assert!(took < Duration::from_millis(2_100) && lost == 0, "{took:?}, {lost} lost");
        assert_eq!(window.bytes, MAX_REQUESTS * MAX_REQUEST);
        let (took, _) = transfer(&mut window, 20, 3e6 / 8.0);
        assert!(took < Duration::from_secs(120), "{took:?}");
    }

    #[test]
    fn what_is_not_made_use_of_does_not_grow() {
        let (mut window, begun) = (Window::new(LIMIT), Instant::now());
        for n in 0..1_000 {
            let now = begun + Duration::from_secs(n);
            let sent = window.send(1_000, 0, now);
            window.landed(sent, false, now + Duration::from_millis(2));
        }
        assert_eq!(window.bytes, FIRST);
    }

    #[test]
    fn there_is_room_for_one_request_whatever_its_size_and_for_no_more_than_five() {
        let window = Window { bytes: 1, ..Window::new(LIMIT) };
        assert_eq!((window.room(0, 0), window.room(1, BATCH)), (Some(1), None));
        let window = Window { bytes: 80 << 20, ..Window::new(LIMIT) };
        assert_eq!((window.room(4, 4), window.room(5, 5)), (Some(MAX_REQUEST), None));
    }
}
