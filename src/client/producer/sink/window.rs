//! How many bytes of Produce requests may be under way to a broker: as many as it answers well within their limit of time.
//! On a slow link a request of full size, or several, would not get through before that, and be built anew of the same batches
//! until those run out of time. Grows while it is filled and answers come soon, as a congestion window does.
//! What a request takes on the way is not told from what the broker takes: where that has nothing to do with bytes, such as a
//! broker that stood still, the window has grown again after a few answers.

use std::time::{Duration, Instant};

/// Before anything is known.
const FIRST: usize = 4 << 20;
/// A request has one batch at least, whatever the window.
const LEAST: usize = 256 << 10;
/// A request takes no more batches from this size on. Brokers refuse above 100 MiB (`socket.request.max.bytes`).
const MAX_REQUEST: usize = 16 << 20;
/// Produce requests under way per connection. A broker works on one at a time; the others are on their way.
pub(super) const MAX_REQUESTS: usize = 5;

/// See the module.
pub(super) struct Window {
    bytes: usize,
    /// Requests sent before this say nothing about what the window has become then.
    changed: Option<Instant>,
}

/// What is remembered of a request under way.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) bytes: usize,
    /// With the bytes of those before it.
    pub(super) under_way: usize,
    pub(super) at: Instant,
    /// How long it may take.
    pub(super) limit: Duration,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { bytes: FIRST, changed: None }
    }

    /// From how many bytes on the next request is full; `None`: it has to wait. With nothing under way there is always one.
    pub(super) fn room(&self, requests: usize, under_way: usize) -> Option<usize> {
        match requests {
            0 => Some(self.bytes.min(MAX_REQUEST)),
            MAX_REQUESTS.. => None,
            _ => self.bytes.checked_sub(under_way).filter(|&left| left > 0).map(|left| left.min(MAX_REQUEST)),
        }
    }

    /// A request has been answered, or lost.
    pub(super) fn landed(&mut self, sent: Sent, lost: bool, now: Instant) {
        if self.changed.is_some_and(|changed| sent.at < changed) {
            return;
        }
        let took = now.saturating_duration_since(sent.at);
        let bytes = match lost {
            true if took > sent.limit / 2 => self.bytes.min(sent.under_way) / 4,
            false if took > sent.limit / 2 => self.bytes.min(sent.under_way) / 2,
            false if took < sent.limit / 4 && sent.under_way >= self.bytes / 2 => self.bytes.max(sent.under_way) * 2,
            _ => return,
        };
        (self.bytes, self.changed) = (bytes.clamp(LEAST, MAX_REQUESTS * MAX_REQUEST), Some(now));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::collections::VecDeque;

    use super::*;

    const BATCH: usize = 1_000_000;
    const MBIT: f64 = 1e6 / 8.0;

    /// A link of so many bytes a second, on which a request takes a millisecond besides, and how long requests may take.
    struct Link {
        bytes_per_s: f64,
        limit: Duration,
    }

    impl Link {
        fn new(bytes_per_s: f64, limit_s: u64) -> Self {
            Self { bytes_per_s, limit: Duration::from_secs(limit_s) }
        }

        /// Sends `batches` of a megabyte; how many seconds that takes, and how many requests are lost.
        fn transfer(&self, window: &mut Window, batches: usize) -> (f64, usize) {
            let begun = Instant::now();
            let (mut now, mut free, mut left, mut lost) = (begun, begun, batches, 0);
            let mut flights: VecDeque<(Sent, usize, Instant)> = VecDeque::new();
            loop {
                let under_way: usize = flights.iter().map(|(sent, ..)| sent.bytes).sum();
                if let Some(room) = window.room(flights.len(), under_way).filter(|_| left > 0) {
                    let count = room.div_ceil(BATCH).min(left);
                    left -= count;
                    let bytes = count * BATCH;
                    free = free.max(now) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s);
                    let sent = Sent { bytes, under_way: under_way + bytes, at: now, limit: self.limit };
                    flights.push_back((sent, count, free + Duration::from_millis(1)));
                    continue;
                }
                let Some((sent, count, done)) = flights.pop_front() else { return ((now - begun).as_secs_f64(), lost) };
                if done > sent.at + self.limit {
                    // The connection ends, and everything with it.
                    now = sent.at + self.limit;
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
    }

    #[test]
    fn a_slow_link_gets_what_passes_within_the_limit() {
        for (batches, mbit, limit) in [(40, 3.0, 30), (10, 1.0, 30), (400, 30.0, 30), (40, 3.0, 10), (10, 3.0, 6)] {
            let (took, lost) = Link::new(mbit * MBIT, limit).transfer(&mut Window::new(), batches);
            let ideal = batches as f64 * BATCH as f64 / (mbit * MBIT);
            let what = format!("{batches} MB at {mbit} Mbit/s: {took:.0} s of {ideal:.0}, {lost} requests lost");
            assert!(took < ideal + 1.5 * limit as f64 && lost <= 5, "{what}");
        }
    }

    #[test]
    fn a_link_that_becomes_slow_costs_little_before_the_window_fits() {
        let mut window = Window::new();
        let (took, lost) = Link::new(1e9, 30).transfer(&mut window, 2_000);
        assert!(took < 2.1 && lost == 0, "{took}, {lost} lost");
        assert_eq!(window.bytes, MAX_REQUESTS * MAX_REQUEST);
        let (took, _) = Link::new(3.0 * MBIT, 30).transfer(&mut window, 20);
        assert!(took < 120.0, "{took}");
    }

    #[test]
    fn what_is_not_made_use_of_does_not_grow_and_a_stall_is_soon_made_up_for() {
        let (mut window, begun) = (Window::new(), Instant::now());
        let limit = Link::new(1.0, 30).limit;
        let send = |window: &mut Window, ms, lost| {
            let sent = Sent { bytes: 200, under_way: 200, at: begun, limit };
            window.landed(sent, lost, begun + Duration::from_millis(ms));
        };
        (0..100).for_each(|_| send(&mut window, 2, false));
        assert_eq!(window.bytes, FIRST);
        send(&mut window, 30_000, true);
        assert_eq!(window.bytes, LEAST);
        window.changed = None;
        let (took, lost) = Link::new(1e9, 30).transfer(&mut window, 200);
        assert!(took < 0.25 && lost == 0, "{took}, {lost} lost");
    }

    #[test]
    fn there_is_room_for_one_request_whatever_its_size_and_for_no_more_than_five() {
        let window = Window { bytes: LEAST, ..Window::new() };
        assert_eq!((window.room(0, 0), window.room(1, BATCH)), (Some(LEAST), None));
        let window = Window { bytes: 80 << 20, ..Window::new() };
        assert_eq!((window.room(4, 4), window.room(5, 5)), (Some(MAX_REQUEST), None));
    }
}
