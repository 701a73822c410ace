//! The one backoff: exponential, capped, with jitter. A machine: it says how long to wait, a driver waits.

use std::time::Duration;

/// First delay and cap of a [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BackoffConfig {
    pub(crate) first: Duration,
    pub(crate) max: Duration,
}

/// Delays that double from `first` to `max`, each spread by ±20 % (KIP-580) so that clients do not retry in step.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    config: BackoffConfig,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(config: BackoffConfig) -> Self {
        Self { config, failures: 0 }
    }

    /// Counts one more failure and says how long to wait after it.
    pub(crate) fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let doubled = self.config.first.saturating_mul(1u32 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.config.max).mul_f64(0.8 + 0.4 * rng.f64())
    }

    /// Starts again from the first delay: call it after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BackoffConfig = BackoffConfig { first: Duration::from_millis(100), max: Duration::from_secs(1) };

    #[test]
    fn delays_double_up_to_the_cap_within_a_fifth() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::new(CONFIG);
        for expected in [100, 200, 400, 800, 1000, 1000, 1000] {
            let got = backoff.next(&mut rng).as_secs_f64() * 1000.0;
            assert!((got / f64::from(expected) - 1.0).abs() <= 0.2001, "{got} for {expected}");
        }
        assert_eq!(backoff.failures(), 7);
    }

    #[test]
    fn a_reset_starts_over_and_endless_failures_do_not_overflow() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::new(CONFIG);
        (0..100).for_each(|_| assert!(backoff.next(&mut rng) <= Duration::from_millis(1200)));
        backoff.reset();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(120));
    }
}
