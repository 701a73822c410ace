//! Who watches for the failures of which message, and the calls of their handlers: for the desk. A handler belongs to a user and may never end: it must cost no
//! other one more than a moment. So many run at once, and while they do, failures wait in Kafka; one that is slow gives its
//! place to the next and goes on beside them; and there is an end to how long and how many may do so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::callback_error::{CallbackError, Watcher};
use crate::env::{Env, lock};
use crate::envelope::MessageId;

/// Messages watched at once; beyond, the one whose time ends first is watched no longer.
const MAX_WATCHED: usize = 100_000;
/// Groups whose failures a watcher hears of, for one message.
const MAX_GROUPS: usize = 1_000;

/// Handlers that run at once, each in a place of its own.
const PLACES: usize = 64;
/// When a handler that has not ended leaves its place.
const SLOW: Duration = Duration::from_secs(1);
/// Handlers that go on without a place; beyond, the oldest is dropped.
const MAX_SLOW: usize = 1_000;
/// When a handler that has not ended is dropped.
const LIMIT: Duration = Duration::from_secs(60);

/// The messages that are watched.
#[derive(Default)]
pub(super) struct Watched(Mutex<Book>);

#[derive(Default)]
struct Book {
    by_id: BTreeMap<MessageId, Entry>,
    /// The same, by their ends.
    ends: BTreeSet<(Instant, MessageId)>,
}

struct Entry {
    end: Instant,
    watcher: Watcher,
    /// The groups whose failure was told.
    told: Vec<String>,
}

impl Book {
    fn remove(&mut self, id: MessageId) {
        if let Some(entry) = self.by_id.remove(&id) {
            self.ends.remove(&(entry.end, id));
        }
    }
}

impl Watched {
    /// The watcher hears of this message's failures, for so long.
    pub(super) fn add(self: &Arc<Self>, now: Instant, id: MessageId, watcher: Watcher, length: Duration) -> Watching {
        let end = now.checked_add(length).unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        let mut book = lock(&self.0);
        while let Some((end, first)) = book.ends.first().copied()
            && (end <= now || book.ends.len() >= MAX_WATCHED)
        {
            book.remove(first);
        }
        // Of one that is watched twice, the later watcher hears.
        book.remove(id);
        book.by_id.insert(id, Entry { end, watcher, told: Vec::new() });
        book.ends.insert((end, id));
        Watching { id, watched: Arc::downgrade(self) }
    }

    /// Who is to hear that this group failed with a message. Once: a redelivered message fails again.
    pub(super) fn told(&self, now: Instant, id: MessageId, group: String) -> Option<Watcher> {
        let mut book = lock(&self.0);
        let entry = book.by_id.get_mut(&id)?;
        if entry.end <= now {
            book.remove(id);
            return None;
        }
        if entry.told.len() >= MAX_GROUPS || entry.told.contains(&group) {
            return None;
        }
        entry.told.push(group);
        Some(entry.watcher.clone())
    }
}

/// A message that is watched and has no place in the order yet. Dropped before it is [kept](Self::keep), the message was
/// not sent and is watched no longer.
pub(in crate::dispatcher) struct Watching {
    id: MessageId,
    watched: Weak<Watched>,
}

impl Watching {
    /// It has its place.
    pub(in crate::dispatcher) fn keep(mut self) {
        self.watched = Weak::new();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let Some(watched) = self.watched.upgrade() else { return };
        lock(&watched.0).remove(self.id);
    }
}

/// Handlers that run. One for each dispatcher.
pub(super) struct Calls {
    places: Arc<Semaphore>,
    /// Each ends its handler when it is dropped.
    slow: Arc<Mutex<VecDeque<oneshot::Sender<()>>>>,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)), slow: Arc::default() }
    }

    /// Begins a call as soon as there is a place, for which it waits until one of those that run has ended or is slow.
    pub(super) async fn begin(&self, env: &Env, watcher: Watcher, error: CallbackError) {
        let Ok(place) = self.places.clone().acquire_owned().await else { return };
        let (slow, clock) = (self.slow.clone(), env.clone());
        // A handler that panics ends its own task only.
        env.spawn(async move {
            let of = error.to_string();
            let mut call = pin!(watcher.call(error));
            if clock.timeout(SLOW, &mut call).await.is_some() {
                return;
            }
            drop(place);
            let (kept, crowded_out) = oneshot::channel();
            keep(&mut lock(&slow), kept);
            let why = tokio::select! { biased;
                () = &mut call => return,
                _ = crowded_out => format!("{MAX_SLOW} newer ones have not ended either"),
                () = clock.sleep(LIMIT - SLOW) => format!("it has not ended within {LIMIT:?}"),
            };
            tracing::warn!(target: "dispatcher", failure = of, "a watcher of errors is dropped: {why}; make it faster");
        });
    }
}

/// Lets one more go on, the oldest one no longer if they are too many.
fn keep(slow: &mut VecDeque<oneshot::Sender<()>>, one: oneshot::Sender<()>) {
    if slow.len() >= MAX_SLOW {
        slow.retain(|one| !one.is_closed());
    }
    if slow.len() >= MAX_SLOW {
        slow.pop_front();
    }
    slow.push_back(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // Only a beginning to count from.
    fn a_watch_ends_at_its_time_whatever_was_watched_before_it() {
        let (watched, start, second) = (Arc::new(Watched::default()), Instant::now(), Duration::from_secs(1));
        let watch = |now: Instant, id: u128, length| {
            watched.add(now, MessageId::from_random(id), Watcher::new(|_| std::future::ready(())), length).keep();
        };
        let hears = |now: Instant, id: u128, group: &str| {
            watched.told(now, MessageId::from_random(id), group.to_owned()).is_some()
        };
        watch(start, 1, 1_000 * second);
        (2..10).for_each(|id| watch(start, id, 10 * second));
        assert!(hears(start + 9 * second, 2, "kitchen"));
        assert!(!hears(start + 9 * second, 2, "kitchen"), "once");
        assert!(hears(start + 9 * second, 2, "bar"));
        assert!(!hears(start + 10 * second, 3, "kitchen"), "over");
        watch(start + 20 * second, 10, second);
        let left = lock(&watched.0).by_id.len();
        assert_eq!((left, lock(&watched.0).ends.len()), (2, 2), "a long one keeps no shorter ones");
        assert!(hears(start + 20 * second, 1, "kitchen"));
        let unsent = watched.add(start, MessageId::from_random(11), Watcher::new(|_| std::future::ready(())), second);
        drop(unsent);
        assert_eq!(lock(&watched.0).ends.len(), 2);
    }
}
