//! A count of those who wait for something that others give back, who look at it before they keep or wake. Used by what
//! opens connections.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts one waiter for as long as it lives, however its future ends.
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    pub(crate) fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
