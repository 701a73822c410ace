//! How far one source is ahead of its readers: bytes that came and that nobody has come to yet. Readers count down as
//! they hand records out, whatever they keep in memory after that; the source waits until it is less far ahead.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

#[derive(Debug)]
pub(in crate::client) struct Lead {
    unread: AtomicI64,
    /// The source waits for `unread` to fall to this.
    wake_at: AtomicI64,
    fallen: Notify,
}

const NEVER: i64 = i64::MIN;

impl Default for Lead {
    fn default() -> Self {
        Self { unread: AtomicI64::new(0), wake_at: AtomicI64::new(NEVER), fallen: Notify::new() }
    }
}

impl Lead {
    pub(super) fn add(&self, bytes: i64) {
        self.unread.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(super) fn read(&self, bytes: i64) {
        let unread = self.unread.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        self.tell(unread);
    }

    fn tell(&self, unread: i64) {
        if unread <= self.wake_at.load(Ordering::SeqCst) && self.wake_at.swap(NEVER, Ordering::SeqCst) != NEVER {
            self.fallen.notify_one();
        }
    }

    /// Bytes that nobody has come to.
    pub(super) fn unread(&self) -> i64 {
        self.unread.load(Ordering::SeqCst)
    }

    /// [`fallen`](Self::fallen) returns when no more than `bytes` are unread.
    pub(super) fn wait_until(&self, bytes: i64) {
        self.wake_at.store(bytes.max(0), Ordering::SeqCst);
        // What was read in between saw the old mark.
        self.tell(self.unread());
    }

    /// May return early. Cancel-safe.
    pub(super) async fn fallen(&self) {
        self.fallen.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn who_waits_is_told_when_enough_has_been_read() {
        let lead = Lead::default();
        lead.add(1_000);
        lead.wait_until(400);
        let mut fallen = pin!(lead.fallen());
        let mut poll = || fallen.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        lead.read(500);
        assert!(!poll());
        lead.read(100);
        assert!(poll());
    }

    #[test]
    fn nothing_to_wait_for_is_told_at_once() {
        let lead = Lead::default();
        lead.wait_until(-1);
        assert!(pin!(lead.fallen()).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
