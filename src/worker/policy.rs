//! When to look whether there is something to commit: once per interval while records move or handlers run, never when
//! idle. Revocation and stop commit by themselves.

use std::time::{Duration, Instant};

/// A timer as data.
#[derive(Debug)]
pub(crate) struct CommitPolicy {
    interval: Duration,
    due: Option<Instant>,
}

impl CommitPolicy {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, due: None }
    }

    /// Records moved.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.interval);
    }

    /// When to look.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The driver looked. `busy`: handlers run or a commit failed, so look again after another interval.
    pub(crate) fn looked(&mut self, now: Instant, busy: bool) {
        self.due = busy.then(|| now + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_consumer_has_no_timer_and_a_busy_one_commits_once_per_interval() {
        let (start, second) = (crate::env::Env::system().now(), Duration::from_secs(1));
        let mut policy = CommitPolicy::new(second);
        assert_eq!(policy.due(), None);
        policy.touch(start);
        policy.touch(start + second / 2);
        assert_eq!(policy.due(), Some(start + second), "later records do not push it back");
        policy.looked(start + second, true);
        assert_eq!(policy.due(), Some(start + 2 * second));
        policy.looked(start + 2 * second, false);
        assert_eq!(policy.due(), None);
    }
}
