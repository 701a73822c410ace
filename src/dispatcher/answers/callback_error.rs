//! Failures of consumers' handlers, as the sender of the message, or a service that looks after a topic, sees them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::desk::Helper;
use crate::dispatcher::Dispatcher;
use crate::dispatcher::from_message::FromMessage;
use crate::dispatcher::message::Message;
use crate::dispatcher::tail::Tail;
use crate::envelope::Answer;
use crate::error::{Error, ErrorKind, Result};

/// A handler of some group has failed for good with a message.
///
/// It comes to the sender's [`watch_errors`](crate::SendMessage::watch_errors), to
/// [`callback_errors`](Dispatcher::callback_errors), and to the handler of any subscription of `<topic>_ERR` that takes
/// it as its argument.
#[derive(Debug, Clone)]
pub struct CallbackError {
    message: Message,
    answer: Answer<'static>,
}

impl CallbackError {
    pub(super) fn of(message: &Message) -> Option<Self> {
        let message = message.as_error_record()?;
        let answer = message.answer()?.to_owned();
        Some(Self { message, answer })
    }

    /// The error's text.
    pub fn error(&self) -> &str {
        self.answer.error.as_deref().unwrap_or_default()
    }

    /// The group whose handler failed, under Kafka's name for it. Empty in records of Go dispatchers before 1.10.13.
    pub fn group(&self) -> &str {
        &self.answer.group
    }

    /// The topic of the message that it concerns.
    pub fn topic(&self) -> &str {
        &self.answer.topic
    }

    /// The partition of that message.
    pub fn partition(&self) -> i32 {
        self.answer.partition
    }

    /// The offset of that message.
    pub fn offset(&self) -> i64 {
        self.answer.offset
    }

    /// The id of that message; empty if it had none.
    pub fn id(&self) -> &str {
        &self.answer.id
    }

    /// The key of that message.
    pub fn key(&self) -> Option<&[u8]> {
        self.message.key()
    }

    /// The payload of that message; `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.message.value()
    }

    /// The same, shared.
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.message.value_bytes()
    }

    /// The headers of that message, without this library's own.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.message.user_headers()
    }

    /// How often the handler had been called with it, from 1; 0 if that is unknown.
    pub fn attempt(&self) -> u32 {
        self.answer.attempt
    }

    /// When it failed for good: ms since 1970, on the consumer's clock.
    pub fn failed_ms(&self) -> i64 {
        if self.answer.handled_ms >= 0 { self.answer.handled_ms } else { self.message.timestamp() }
    }

    /// When the message was sent: ms since 1970, on the sender's clock; −1 unknown.
    pub fn sent_ms(&self) -> i64 {
        self.answer.sent_ms
    }
}

impl fmt::Display for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { group, topic, partition, offset, .. } = &self.answer;
        write!(f, "group {group} failed with {topic}-{partition} offset {offset}: {}", self.error())
    }
}

/// For subscriptions of `<topic>_ERR`.
impl FromMessage for CallbackError {
    fn from_message(message: Message) -> Result<Self> {
        Self::of(&message).ok_or_else(|| {
            let text = "this is no error record: subscribe to the topic's name with _ERR behind it";
            Error::new(ErrorKind::Handler, text)
        })
    }
}

type Handled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A sender's handler of failures.
#[derive(Clone)]
pub(in crate::dispatcher) struct Watcher(Arc<dyn Fn(CallbackError) -> Handled + Send + Sync>);

impl Watcher {
    pub(in crate::dispatcher) fn new<F, Fut>(handler: F) -> Self
    where
        F: Fn(CallbackError) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move |error| Box::pin(handler(error))))
    }

    pub(super) fn call(&self, error: CallbackError) -> Handled {
        (self.0)(error)
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// Failures of a topic's consumers, one after another.
pub struct CallbackErrors {
    tail: Tail,
    /// Read and not taken yet, the next one last.
    ready: Vec<CallbackError>,
}

impl CallbackErrors {
    /// The next one. Waits for it; never ends.
    ///
    /// Cancel-safe at any time, as in `select!` or under a time-out: nothing that was read is lost, and the topic is
    /// followed on, also one that is being made again or gets more partitions.
    pub async fn next(&mut self) -> CallbackError {
        loop {
            if let Some(error) = self.ready.pop() {
                return error;
            }
            self.ready = self.tail.next().await.iter().filter_map(CallbackError::of).rev().collect();
        }
    }
}

impl fmt::Debug for CallbackErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackErrors")
    }
}

impl Dispatcher {
    /// What handlers of `topic` fail with from now on, in all groups: for messages whose senders
    /// [watch for errors](crate::SendMessage::watch_errors), and for all in subscriptions that
    /// [publish errors](crate::Subscribe::publish_errors).
    ///
    /// It is read without a group: everybody who asks gets all of them. Partitions that are added later are read from their
    /// beginning, and so is the whole topic if it is deleted and made again. To go on where one stopped, and to share the work,
    /// subscribe to `<topic>_ERR` with a handler that takes a [`CallbackError`].
    ///
    /// # Errors
    /// The helper topic `<topic>_ERR` does not exist and cannot be made. Cancel-safe.
    pub async fn callback_errors(&self, topic: &str) -> Result<CallbackErrors> {
        let meta = self.helper_topic(&Helper::Errors.of(topic)?).await?;
        let tail = Tail::start(self.source().clone(), &meta.name, meta.partitions.len(), None).await?;
        Ok(CallbackErrors { tail, ready: Vec::new() })
    }
}
