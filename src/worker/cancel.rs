//! A flag that running handlers of a partition can wait for: it goes up when the partition is taken away or the
//! subscription stops. Handlers see it through their record; nothing forces them to look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Cheap to clone; once raised it stays raised.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    raised: AtomicBool,
    notify: Notify,
}

impl Cancel {
    pub(crate) fn raise(&self) {
        self.0.raised.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Waits until it is raised. Cancel-safe.
    pub(crate) async fn raised(&self) {
        let mut notified = std::pin::pin!(self.0.notify.notified());
        notified.as_mut().enable();
        if !self.is_raised() {
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiters_wake_when_it_is_raised_and_later_ones_do_not_wait() {
        let cancel = Cancel::default();
        let waiter = cancel.clone();
        tokio::join!(async { waiter.raised().await }, async { cancel.raise() });
        cancel.raised().await;
        assert!(cancel.is_raised());
    }
}
