//! How many bytes one answer may have: as few as keep the broker busy. Small answers stay in the processor's caches
//! and their buffers are few; but only one is on its way at a time, so that where the way is long, or the broker slow,
//! they have to be larger. A machine, owned by a source.

use std::time::Duration;

/// To begin with, and where answers come fast.
const LEAST: i64 = 2 << 20;
/// A full answer that had to be waited for so long, by readers that had little left, asks for larger ones,
const SLOW: Duration = Duration::from_millis(8);
/// one that was there sooner for smaller ones.
const FAST: Duration = Duration::from_millis(3);

#[derive(Debug)]
pub(super) struct Pace {
    limit: i64,
    most: i64,
}

impl Pace {
    /// `most` bytes are the most an answer may ever have.
    pub(super) fn new(most: usize) -> Self {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        Self { limit: LEAST.min(most), most }
    }

    /// Bytes to ask for next.
    pub(super) fn limit(&self) -> i64 {
        self.limit
    }

    /// For an answer of so many bytes was waited so long, when all before it had been opened; of that the readers hold `held`
    /// bytes, handled or not.
    pub(super) fn answered(&mut self, bytes: i64, waited: Duration, held: impl FnOnce() -> i64) {
        // One that is not nearly full had nothing more to bring, and whoever has enough to go on with does not wait for it:
        // to read further ahead of slow handlers takes memory for nothing.
        let full = bytes >= self.limit / 2;
        if full && waited > SLOW && held() < self.limit / 4 {
            self.limit = self.limit.saturating_mul(2).min(self.most);
        } else if waited < FAST {
            self.limit = (self.limit / 2).max(LEAST.min(self.most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_grow_where_the_way_is_long_and_shrink_where_it_is_short() {
        let (slow, fast) = (Duration::from_millis(80), Duration::from_millis(1));
        let mut pace = Pace::new(50 << 20);
        assert_eq!(pace.limit(), LEAST);
        for _ in 0..10 {
            pace.answered(100, slow, || 0);
        }
        assert_eq!(pace.limit(), LEAST, "it waited for records");
        for _ in 0..10 {
            pace.answered(pace.limit(), slow, || LEAST);
        }
        assert_eq!(pace.limit(), LEAST, "nobody waited");
        for _ in 0..10 {
            pace.answered(pace.limit(), slow, || LEAST / 5);
        }
        assert_eq!(pace.limit(), 50 << 20);
        for _ in 0..10 {
            pace.answered(pace.limit(), fast, || 0);
        }
        assert_eq!(pace.limit(), LEAST);
        assert_eq!(Pace::new(1000).limit(), 1000);
    }
}
