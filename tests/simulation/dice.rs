//! Draws from a seed. Every choice of a schedule comes from one of these, made for it: what one part draws moves no
//! other part's choices.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A stream of choices.
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    /// The stream that `name` has under this seed.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        Self(fastrand::Rng::with_seed(mix(seed, name.as_bytes())))
    }

    pub(crate) fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.0.u64(range)
    }

    pub(crate) fn int(&mut self, range: RangeInclusive<i32>) -> i32 {
        self.0.i32(range)
    }

    pub(crate) fn size(&mut self, range: RangeInclusive<usize>) -> usize {
        self.0.usize(range)
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }

    pub(crate) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.0.usize(0..all.len())].clone()
    }

    /// Milliseconds, evenly.
    pub(crate) fn ms(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.0.u64(range))
    }

    /// Some moment below `limit`.
    pub(crate) fn moment(&mut self, limit: Duration) -> Duration {
        self.ms(0..=limit.as_millis() as u64)
    }
}

/// A hash of a number and some bytes; the same on every machine.
pub(crate) fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let mut trace = Trace(seed ^ 0x51_7c_c1_b7_27_22_0a_95);
    trace.bytes(bytes);
    trace.0
}

/// A hash over all that happens in a run, to see whether two runs are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trace(pub(crate) u64);

impl Trace {
    pub(crate) fn number(&mut self, n: u64) {
        let x = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = (x ^ (x >> 32)).wrapping_add(1);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.number(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.number(u64::from_le_bytes(last));
    }
}
