//! A bounded buffer between a subscription and who reads its errors or events: writers never wait, the oldest entry gives
//! way and is counted. Clones share one buffer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::env::lock;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Ring<T>(Arc<Mutex<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    entries: VecDeque<T>,
    /// At most so many wait for the reader.
    keep: usize,
    /// Dropped since the reader was last told.
    dropped: u64,
    ended: bool,
    readers: Vec<Waker>,
}

impl<T> Clone for Ring<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Ring<T> {
    /// The newest `keep` entries wait for the reader.
    pub(crate) fn new(keep: usize) -> Self {
        let (entries, readers) = (VecDeque::new(), Vec::new());
        Self(Arc::new(Mutex::new(Inner { entries, keep, dropped: 0, ended: false, readers })))
    }

    /// From now on so many; not fewer than before.
    pub(crate) fn keep(&self, entries: usize) {
        let mut inner = lock(&self.0);
        inner.keep = inner.keep.max(entries);
    }

    /// Never blocks. Whether this is the first entry lost since the reader was last told.
    pub(crate) fn push(&self, entry: T) -> bool {
        let mut inner = lock(&self.0);
        if inner.ended {
            return false;
        }
        let full = inner.entries.len() >= inner.keep;
        let gone = if full { inner.entries.pop_front() } else { None };
        inner.dropped += u64::from(full);
        let first = full && inner.dropped == 1;
        inner.entries.push_back(entry);
        let readers = std::mem::take(&mut inner.readers);
        drop(inner);
        drop(gone);
        readers.into_iter().for_each(Waker::wake);
        first
    }

    /// No more will come; what waits can still be read.
    pub(crate) fn end(&self) {
        let mut inner = lock(&self.0);
        inner.ended = true;
        let readers = std::mem::take(&mut inner.readers);
        drop(inner);
        readers.into_iter().for_each(Waker::wake);
    }

    /// How many entries gave way unread since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut lock(&self.0).dropped)
    }

    /// The next entry; `None` when the subscription has ended.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut inner = lock(&self.0);
        match inner.entries.pop_front() {
            Some(entry) => Poll::Ready(Some(entry)),
            None if inner.ended => Poll::Ready(None),
            None => {
                if !inner.readers.iter().any(|reader| reader.will_wake(cx.waker())) {
                    inner.readers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_readers_share_the_entries_and_both_learn_of_the_end() {
        let ring = Ring::new(2);
        assert!(!ring.push(1) && !ring.push(2) && ring.push(3) && !ring.push(4));
        assert_eq!(ring.take_dropped(), 2);
        let read = async || {
            let mut read = Vec::new();
            while let Some(entry) = std::future::poll_fn(|cx| ring.poll_next(cx)).await {
                read.push(entry);
            }
            read
        };
        let (one, two, ()) = tokio::join!(read(), read(), async {
            tokio::task::yield_now().await;
            ring.push(5);
            tokio::task::yield_now().await;
            ring.end();
        });
        assert_eq!([one, two].concat(), [3, 4, 5]);
    }
}
