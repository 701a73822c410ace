//! The time of records. Reading the wall clock costs as much as a tenth of a small send, so a burst shares readings: once
//! many have been made within a tick of the system's coarse clock, which is read much faster, the last one stands for
//! the rest of that tick.

use std::sync::atomic::{AtomicU64, Ordering};

/// Readings within a tick before one is shared. A tick is 1 to 10 ms, mostly 4, so this is a few thousand sends a second.
const READINGS: u64 = 16;
const COUNT_BITS: u32 = 8;
/// No tick is longer; a clock that was set back by more is noticed by it. Set back by less, what is shared is ahead by that
/// much until the clock has caught up.
const TICK_MS: u64 = 16;

/// The last reading, in ms since 1970, and in its lowest bits how many were made in its tick.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    last: AtomicU64,
}

impl Stamps {
    /// Milliseconds since 1970 by `precise`, or, in a burst, its last result if that is of the present tick.
    #[inline]
    pub(super) fn now(&self, precise: impl FnOnce() -> i64) -> i64 {
        match coarse_ms() {
            Some(tick) => self.at(tick, precise),
            None => precise(),
        }
    }

    /// `tick` is when the present one began. Of two threads that both read, the later reading stays.
    #[inline]
    fn at(&self, tick: u64, precise: impl FnOnce() -> i64) -> i64 {
        let last = self.last.load(Ordering::Relaxed);
        let (ms, count) = (last >> COUNT_BITS, last & ((1 << COUNT_BITS) - 1));
        let is_of_this_tick = ms.wrapping_sub(tick) < TICK_MS;
        if is_of_this_tick && count >= READINGS {
            return ms as i64;
        }
        let now = precise();
        let ms = (now.max(0) as u64) << COUNT_BITS;
        if is_of_this_tick {
            self.last.fetch_max(ms | (count + 1), Ordering::Relaxed);
        } else {
            self.last.store(ms | 1, Ordering::Relaxed);
        }
        now
    }
}

/// When the present tick began; `None` where there is no such clock, and each record has its own reading.
#[inline]
fn coarse_ms() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Some(now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    use super::super::system_ms;
    use super::*;

    #[test]
    fn a_burst_shares_the_last_reading_of_its_tick_only() {
        let stamps = Stamps::default();
        for _ in 0..READINGS {
            assert_eq!(stamps.at(1_000, || 1_002), 1_002);
        }
        assert_eq!(stamps.at(1_000, || panic!("the clock is not read")), 1_002);
        // The next tick's first.
        assert_eq!(stamps.at(1_004, || 1_005), 1_005);
        assert_eq!(stamps.at(1_004, || 1_006), 1_006);
    }

    #[test]
    fn sends_that_are_no_burst_have_their_own_reading() {
        let stamps = Stamps::default();
        for ms in 0..100 {
            assert_eq!(stamps.at(ms - ms % 4, || ms as i64), ms as i64);
        }
    }

    #[test]
    fn a_clock_that_is_set_is_followed_both_ways() {
        let stamps = Stamps::default();
        for tick in [5_000, 1_000, 1_000_000] {
            for _ in 0..2 * READINGS {
                assert_eq!(stamps.at(tick, || tick as i64 + 1), tick as i64 + 1);
            }
        }
    }

    #[test]
    fn it_is_the_time() {
        let stamps = Stamps::default();
        for _ in 0..100_000 {
            let (stamp, now) = (stamps.now(system_ms), system_ms());
            assert!((-50..2_000).contains(&(now - stamp)), "{stamp} is not {now}");
        }
    }
}
