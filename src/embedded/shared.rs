//! What the tasks of a cluster share: the state behind its lock, the environment, and the clockwork that moves groups and
//! transactions on when time passes.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::observe::Observers;
use super::state::State;
use crate::env::{Env, lock};

/// How often retention by time is applied (Kafka: `log.retention.check.interval.ms`, 5 min).
const RETENTION_INTERVAL: Duration = Duration::from_secs(300);

/// See the module.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) env: Env,
    pub(super) observers: Observers,
    /// A limit of time may have moved.
    timing: Notify,
}

impl Shared {
    pub(super) fn new(state: State, env: Env) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), env, observers: Observers::default(), timing: Notify::new() })
    }

    /// The state. Never kept across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Groups or transactions changed: their next limit may be another one.
    pub(super) fn timing_changed(&self) {
        self.timing.notify_one();
    }

    /// Moves everything on that waits for time. Runs as a task for the cluster's life.
    pub(super) async fn clockwork(self: Arc<Self>) {
        let mut retention = self.env.now() + RETENTION_INTERVAL;
        loop {
            let next = {
                let state = self.state();
                [state.groups.next_timeout(), state.transactions.next_timeout()].into_iter().flatten().min()
            };
            let next = next.map_or(retention, |at| at.min(retention));
            tokio::select! {
                biased;
                () = self.timing.notified() => {}
                () = self.env.sleep_until(next) => {}
            }
            let now = self.env.now();
            let mut state = self.state();
            state.groups.on_time(now);
            state.expire_transactions(now, self.env.wall_ms());
            if now >= retention {
                retention = now + RETENTION_INTERVAL;
                state.apply_retention(self.env.wall_ms());
            }
            state.deliver_replies();
        }
    }
}
