//! The sender's side: who waits for which receipt, who watches for which failure, and the readers that bring both. A
//! dispatcher reads one partition of a helper topic, which its messages name, so that it gets its own answers and hardly
//! anybody else's; only for Go's envelope, which can name none, it reads them all. No group is used: none can steal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::callback_error::{CallbackError, Watcher};
use super::receipt::Receipt;
use super::watchers::{Calls, Watched, Watching};
use crate::client::topology::TopicMeta;
use crate::dispatcher::Dispatcher;
use crate::dispatcher::message::Message;
use crate::dispatcher::tail::Tail;
use crate::env::{Env, lock, watch};
use crate::envelope::{ERROR_SUFFIX, MessageId, Place, REPLY_SUFFIX};
use crate::error::{Error, ErrorKind, Result};

/// Which of a topic's two helper topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::dispatcher) enum Helper {
    Replies,
    Errors,
}

impl Helper {
    /// The helper topic of a topic.
    ///
    /// # Errors
    /// Its name would be too long.
    pub(in crate::dispatcher) fn of(self, topic: &str) -> Result<String> {
        let name = match self {
            Self::Replies => format!("{topic}{REPLY_SUFFIX}"),
            Self::Errors => format!("{topic}{ERROR_SUFFIX}"),
        };
        match name.len() {
            ..=249 => Ok(name),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "what comes back for topic {topic} would go to {name}, which is longer than 249 bytes: use a shorter topic name"
                ),
            )),
        }
    }
}

/// Which helper topic, and whether for Go's envelope.
type Name = (String, bool);

/// See the file's head. One for each dispatcher.
pub(in crate::dispatcher) struct Desk {
    inner: Arc<Inner>,
    readers: Mutex<BTreeMap<Name, Reader>>,
}

struct Inner {
    env: Env,
    waiting: Mutex<BTreeMap<MessageId, mpsc::UnboundedSender<Receipt>>>,
    watched: Arc<Watched>,
    calls: Calls,
}

/// Of a helper topic.
enum Reader {
    /// It is being made ready, in a task of its own: those who wait for it may have less time than that takes.
    Opening(watch::Receiver<Option<Result<Place>>>),
    Open {
        place: Place,
        _task: Task,
    },
}

/// A task that reads; it ends with this.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Desk {
    pub(in crate::dispatcher) fn new(env: Env) -> Self {
        let inner = Inner { env, waiting: Mutex::default(), watched: Arc::default(), calls: Calls::new() };
        Self { inner: Arc::new(inner), readers: Mutex::default() }
    }

    /// Where answers of `topic` are to go. When this returns they are read, so that none is missed. Cancel-safe: what is
    /// begun goes on for those who ask later.
    pub(in crate::dispatcher) async fn place(
        &self,
        dispatcher: &Dispatcher,
        topic: &str,
        helper: Helper,
        everywhere: bool,
    ) -> Result<Place> {
        let name = (helper.of(topic)?, everywhere);
        let mut opening = {
            let mut readers = lock(&self.readers);
            match readers.get(&name) {
                Some(Reader::Open { place, .. }) => return Ok(*place),
                Some(Reader::Opening(opening)) => opening.clone(),
                None => {
                    let (done, opening) = watch::channel(None);
                    readers.insert(name.clone(), Reader::Opening(opening.clone()));
                    let (dispatcher, name) = (dispatcher.clone(), name.clone());
                    let _ends_by_itself = self.inner.env.spawn(async move {
                        let opened = dispatcher.desk().open(&dispatcher, name, helper).await;
                        done.send_replace(Some(opened));
                    });
                    opening
                }
            }
        };
        match opening.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(opened)) => opened.clone(),
            _ => {
                lock(&self.readers).remove(&name);
                let text = "the runtime that was to read what comes back has ended: use the dispatcher in a living one";
                Err(Error::new(ErrorKind::Closed, text))
            }
        }
    }

    /// Makes a reader ready, or nothing is left of it.
    async fn open(&self, dispatcher: &Dispatcher, name: Name, helper: Helper) -> Result<Place> {
        let reading = async {
            let meta = dispatcher.helper_topic(&name.0).await?;
            let mine = self.inner.env.random(|rng| rng.usize(..meta.partitions.len().max(1))) as i32;
            let (place, only) = if name.1 { (Place::Anywhere, None) } else { (Place::Partition(mine), Some(mine)) };
            Ok((place, Task(self.read(dispatcher, &meta, only, helper, name.1).await?)))
        };
        let read = reading.await;
        let mut readers = lock(&self.readers);
        match read {
            Ok((place, task)) => {
                readers.insert(name, Reader::Open { place, _task: task });
                Ok(place)
            }
            Err(error) => {
                readers.remove(&name);
                Err(error)
            }
        }
    }

    async fn read(
        &self,
        dispatcher: &Dispatcher,
        topic: &TopicMeta,
        only: Option<i32>,
        helper: Helper,
        everywhere: bool,
    ) -> Result<JoinHandle<()>> {
        let mut tail = Tail::start(dispatcher.source().clone(), &topic.name, topic.partitions.len(), only).await?;
        let desk = Arc::downgrade(&self.inner);
        Ok(self.inner.env.spawn(async move {
            loop {
                // Answers come in their message's form; those of the other one are the other reader's, or would be told twice.
                for message in tail.next().await.into_iter().filter(|message| message.go().is_some() == everywhere) {
                    let Some(desk) = desk.upgrade() else { return };
                    match helper {
                        Helper::Replies => desk.receipt(&message),
                        Helper::Errors => desk.failure(message).await,
                    }
                }
            }
        }))
    }

    /// Receipts of this message come out of what is returned, until that is dropped.
    pub(in crate::dispatcher) fn expect(&self, id: MessageId) -> Expected {
        let (sender, receipts) = mpsc::unbounded_channel();
        lock(&self.inner.waiting).insert(id, sender);
        Expected { id, receipts, desk: Arc::downgrade(&self.inner) }
    }

    /// The watcher hears of this message's failures, for so long; see [`Watching`].
    pub(in crate::dispatcher) fn watch(&self, id: MessageId, watcher: Watcher, length: Duration) -> Watching {
        self.inner.watched.add(self.inner.env.now(), id, watcher, length)
    }
}

impl Inner {
    fn receipt(&self, message: &Message) {
        let Some(answer) = message.answer() else { return };
        let Some(id) = MessageId::from_text(&answer.id) else { return };
        // A message of another sender in the same partition, or one that nobody waits for any more.
        let Some(waiting) = lock(&self.waiting).get(&id).cloned() else { return };
        let _nobody_waits_any_more = waiting.send(Receipt::new(&answer, self.env.wall_ms()));
    }

    async fn failure(&self, message: Message) {
        let Some((id, group)) =
            message.answer().and_then(|a| Some((MessageId::from_text(&a.id)?, a.group.to_string())))
        else {
            return;
        };
        let Some(watcher) = self.watched.told(self.env.now(), id, group) else { return };
        let Some(error) = CallbackError::of(&message) else { return };
        self.calls.begin(&self.env, watcher, error).await;
    }
}

/// A place in the book of those who wait.
pub(in crate::dispatcher) struct Expected {
    id: MessageId,
    pub(super) receipts: mpsc::UnboundedReceiver<Receipt>,
    desk: Weak<Inner>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.upgrade() {
            lock(&desk.waiting).remove(&self.id);
        }
    }
}

impl std::fmt::Debug for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expected({:?})", self.id)
    }
}
