//! A value that many wait for to change. As tokio's channel of that name, whose waiters wake in random order: here they
//! wake in the order in which they came to wait, so that a simulated run is the same each time.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

/// All senders are gone: the value changes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

struct Shared<T> {
    state: RwLock<State<T>>,
    changed: Notify,
}

struct State<T> {
    value: T,
    version: u64,
    closed: bool,
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The one who changes the value.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// One who waits.
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The value, locked: not to be kept over an await.
pub(crate) struct Ref<'a, T>(RwLockReadGuard<'a, State<T>>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// Both ends.
pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        let state = RwLock::new(State { value, version: 0, closed: false });
        Self(Arc::new(Shared { state, changed: Notify::new() }))
    }

    /// One who waits for changes from now on.
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: self.0.clone(), seen: self.0.read().version }
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    /// Sets the value and returns the former.
    pub(crate) fn send_replace(&self, value: T) -> T {
        let mut former = value;
        self.send_modify(|present| std::mem::swap(present, &mut former));
        former
    }

    pub(crate) fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Tells the others only if `modify` says that it changed something.
    pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) {
        {
            let mut state = self.0.write();
            if !modify(&mut state.value) {
                return;
            }
            state.version += 1;
        }
        self.0.changed.notify_waiters();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.write().closed = true;
        self.0.changed.notify_waiters();
    }
}

impl<T> Receiver<T> {
    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// The value, which counts as seen.
    pub(crate) fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.read();
        self.seen = state.version;
        Ref(state)
    }

    /// What is there counts as seen.
    pub(crate) fn mark_unchanged(&mut self) {
        self.seen = self.shared.read().version;
    }

    /// Waits for a value that was not seen, which then counts as seen. Cancel-safe.
    pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
        let seen = self.seen;
        let until = |state: &State<T>| state.version != seen;
        self.seen = until_state(&self.shared, until).await?.0.version;
        Ok(())
    }

    /// Waits until the value is so, which it may be already. Cancel-safe.
    pub(crate) async fn wait_for(&mut self, mut fits: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        let found = until_state(&self.shared, |state| fits(&state.value)).await?;
        self.seen = found.0.version;
        Ok(found)
    }

    /// Whether there is a value that was not seen.
    #[cfg(test)]
    pub(crate) fn has_changed(&self) -> Result<bool, Closed> {
        let state = self.shared.read();
        if state.closed { Err(Closed) } else { Ok(state.version != self.seen) }
    }
}

async fn until_state<T>(shared: &Shared<T>, mut fits: impl FnMut(&State<T>) -> bool) -> Result<Ref<'_, T>, Closed> {
    loop {
        let mut changed = std::pin::pin!(shared.changed.notified());
        changed.as_mut().enable();
        let closed = {
            let state = shared.read();
            if fits(&state) {
                return Ok(Ref(state));
            }
            state.closed
        };
        if closed {
            return Err(Closed);
        }
        changed.await;
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&*self.borrow()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&*self.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::env::{Env, lock};

    #[tokio::test]
    async fn who_waits_wakes_in_the_order_of_coming() {
        let (sender, receiver) = channel(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (mut receiver, woken) = (receiver.clone(), woken.clone());
                Env::system().spawn(async move {
                    receiver.changed().await.unwrap();
                    lock(&woken).push(n);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        sender.send_replace(1);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*lock(&woken), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_the_end_by_all() {
        let (sender, mut receiver) = channel(1);
        sender.send_modify(|n| *n += 1);
        sender.send_if_modified(|_| false);
        receiver.changed().await.unwrap();
        assert_eq!((*receiver.borrow(), receiver.has_changed()), (2, Ok(false)));
        assert_eq!(sender.send_replace(7), 2);
        assert_eq!(receiver.wait_for(|n| *n == 7).await.map(|n| *n), Ok(7));
        assert_eq!(receiver.has_changed(), Ok(false));
        drop(sender);
        assert_eq!(receiver.changed().await, Err(Closed));
        assert_eq!(receiver.wait_for(|n| *n == 7).await.map(|n| *n), Ok(7), "what is there can still be read");
    }
}
