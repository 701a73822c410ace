//! One message on its way: what can be said about it, its envelope, and what becomes of it.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::config::PartitionerKind;
use super::core::Dispatcher;
use super::payload::Payload;
use crate::client::producer::{self, Ack, Choice, ProducerTopic, RecordParts};
use crate::envelope::{self, Envelope, GoMessage, GoTime, ID_HEADER, MessageId, SENT_HEADER, SentMs};
use crate::error::{Error, ErrorKind, Result};

/// A message that is being put together.
///
/// Awaited, it is sent and resolves to a [`SendReport`] when all in-sync replicas have it.
/// [`enqueue`](Self::enqueue) is for sending many: it resolves as soon as the message has its place in the order.
///
/// Which partition: [`partition`](Self::partition) if given, else by [`key`](Self::key), else by
/// [`ensure_order`](Self::ensure_order), else anywhere.
#[derive(Debug)]
#[must_use = "a message is sent when it is awaited or enqueued"]
pub struct SendMessage<'a> {
    dispatcher: &'a Dispatcher,
    to: To<'a>,
    value: Payload<'a>,
    key: Option<Payload<'a>>,
    headers: Vec<(Cow<'a, str>, Payload<'a>)>,
    ensure_order: bool,
    partition: Option<i32>,
    timestamp: Option<i64>,
    envelope: Envelope,
}

enum To<'a> {
    Name(&'a str),
    Handle(&'a ProducerTopic),
}

impl std::fmt::Debug for To<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Name(name) => name,
            Self::Handle(topic) => topic.name(),
        })
    }
}

impl<'a> SendMessage<'a> {
    pub(super) fn by_name(dispatcher: &'a Dispatcher, topic: &'a str, value: Payload<'a>) -> Self {
        Self::new(dispatcher, To::Name(topic), value)
    }

    pub(super) fn by_handle(dispatcher: &'a Dispatcher, topic: &'a ProducerTopic, value: Payload<'a>) -> Self {
        Self::new(dispatcher, To::Handle(topic), value)
    }

    fn new(dispatcher: &'a Dispatcher, to: To<'a>, value: Payload<'a>) -> Self {
        let envelope = dispatcher.config().envelope;
        let (key, headers, timestamp) = (None, Vec::new(), None);
        Self { dispatcher, to, value, key, headers, ensure_order: false, partition: None, timestamp, envelope }
    }

    /// Messages with the same key share a partition and so keep their order. Wins over
    /// [`ensure_order`](Self::ensure_order). `None` is no key.
    pub fn key(mut self, key: impl Into<Payload<'a>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// All such messages of a topic share one partition and so keep their order: the key is the topic's name.
    pub fn ensure_order(mut self) -> Self {
        self.ensure_order = true;
        self
    }

    /// This partition, from 0, whatever the key.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a header; a name may come several times, a value may be `None`.
    pub fn header(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Payload<'a>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The record's time in ms since 1970. Default now.
    pub fn timestamp(mut self, ms: i64) -> Self {
        self.timestamp = Some(ms);
        self
    }

    /// Another envelope than the dispatcher's for this message.
    pub fn envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = envelope;
        self
    }

    /// Gives the message its place in the order and returns; it is sent in the background, in one batch with its
    /// neighbours. Waits for room in the buffer, for at most `max_block`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`], [`ErrorKind::MessageTooLarge`], [`ErrorKind::UnknownTopic`] or
    /// [`ErrorKind::NotWritten`]: in each case nothing was sent. What happens later, the [`Delivery`] tells.
    ///
    /// Cancel-safe: dropped before it ends, the message is not sent.
    pub async fn enqueue(self) -> Result<Delivery> {
        match self.to {
            To::Handle(topic) => self.append(topic).await,
            To::Name(name) => {
                let topic = self.dispatcher.producer_topic(name).await?;
                self.append(&topic).await
            }
        }
    }

    async fn append(&self, topic: &ProducerTopic) -> Result<Delivery> {
        let invalid = |text: String| Err(Error::new(ErrorKind::InvalidArgument, text));
        if let Some(partition) = self.partition
            && !(0..i64::from(topic.partitions())).contains(&i64::from(partition))
        {
            let count = topic.partitions();
            return invalid(format!("topic {} has no partition {partition}: use 0 to {}", topic.name(), count - 1));
        }
        if let Some(ms) = self.timestamp
            && ms < 0
        {
            return invalid(format!("the timestamp {ms} is negative: use ms since 1970"));
        }
        let key = match &self.key {
            Some(key) => key.as_slice(),
            None if self.ensure_order => Some(topic.name().as_bytes()),
            None => None,
        };
        let choice = match (self.partition, self.dispatcher.config().partitioner) {
            (Some(partition), _) => Choice::Partition(partition),
            (None, PartitionerKind::Random) => {
                let count = topic.partitions().max(1);
                Choice::Partition(self.dispatcher.env().random(|rng| rng.u32(0..count)) as i32)
            }
            (None, _) => Choice::Auto,
        };
        let mut parts = RecordParts { timestamp: self.timestamp, key, value: self.value.as_slice(), headers: &[] };
        let env = self.dispatcher.env();
        let new_id = || MessageId::from_random(env.random(|rng| rng.u128(..)));
        let mut headers: Vec<(&str, Option<&[u8]>)>;
        match self.envelope {
            Envelope::Headers => {
                let now = env.wall_ms();
                parts.timestamp = self.timestamp.or(Some(now));
                let (id, sent) = (new_id(), SentMs::new(now));
                let ours = [(ID_HEADER, Some(id.as_bytes())), (SENT_HEADER, Some(sent.as_bytes()))];
                if self.headers.is_empty() {
                    parts.headers = &ours;
                } else {
                    headers = self.user_headers();
                    headers.extend(ours);
                    parts.headers = &headers;
                }
                let inner = topic.append(choice, &parts).await?;
                Ok(Delivery { inner, id: Some(id) })
            }
            Envelope::Raw => {
                headers = self.user_headers();
                parts.headers = &headers;
                Ok(Delivery { inner: topic.append(choice, &parts).await?, id: None })
            }
            Envelope::GoJson => {
                if !self.headers.is_empty() {
                    return invalid("the Go-JSON envelope carries no headers: leave them out".into());
                }
                let Some(value) = parts.value else {
                    return invalid("the Go-JSON envelope carries no tombstone: send one with Envelope::Raw".into());
                };
                let (id, now) = (new_id(), env.wall_ms());
                let text = envelope::encode_go(&GoMessage {
                    task_id: id.as_str().into(),
                    topic: Cow::Borrowed(topic.name()),
                    key: key.unwrap_or_default().into(),
                    value: Some(value.into()),
                    producer_sent_time: GoTime::from_unix_ms(now),
                    ..GoMessage::default()
                });
                parts.timestamp = self.timestamp.or(Some(now));
                parts.value = Some(text.as_bytes());
                Ok(Delivery { inner: topic.append(choice, &parts).await?, id: Some(id) })
            }
        }
    }

    fn user_headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.headers.iter().map(|(name, value)| (&**name, value.as_slice())).collect()
    }
}

/// Sends and waits for the acknowledgement. Dropped before it ends, the message may or may not be sent.
impl<'a> IntoFuture for SendMessage<'a> {
    type Output = Result<SendReport>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.enqueue().await?.await })
    }
}

/// A message that has its place in the order. Awaited, it resolves when all in-sync replicas have it, or when it has
/// failed: [`ErrorKind::NotWritten`] if it is certainly not in the log, [`ErrorKind::MaybeWritten`] if that is
/// unknown, or a more telling kind for what the broker refused.
///
/// Cancel-safe. Dropping it does not unsend the message.
#[derive(Debug)]
#[must_use = "a Delivery tells whether the message was written"]
pub struct Delivery {
    inner: producer::Delivery,
    id: Option<MessageId>,
}

impl Delivery {
    /// The message's id; `None` with [`Envelope::Raw`].
    pub fn id(&self) -> Option<&str> {
        self.id.as_ref().map(MessageId::as_str)
    }

    /// The partition it goes to.
    pub fn partition(&self) -> i32 {
        self.inner.partition().partition
    }
}

impl Future for Delivery {
    type Output = Result<SendReport>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.id;
        Pin::new(&mut self.inner).poll(cx).map_ok(|ack| SendReport { ack, id })
    }
}

/// Where an acknowledged message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReport {
    ack: Ack,
    id: Option<MessageId>,
}

impl SendReport {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.ack.topic
    }

    /// The partition, from 0.
    pub fn partition(&self) -> i32 {
        self.ack.partition
    }

    /// The place in the partition. `None` if the broker had the message already from an earlier try and did not say
    /// where.
    pub fn offset(&self) -> Option<i64> {
        self.ack.offset
    }

    /// The record's time in ms since 1970: its own, or the broker's where the topic is set so.
    pub fn timestamp(&self) -> i64 {
        self.ack.timestamp
    }

    /// The message's id; `None` with [`Envelope::Raw`].
    pub fn id(&self) -> Option<&str> {
        self.id.as_ref().map(MessageId::as_str)
    }
}
