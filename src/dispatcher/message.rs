//! What a handler gets: one record, with the envelope around its payload already seen through.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::origin::Origin;
use crate::client::fetch::FetchedBatch;
use crate::envelope::{self, Answer, GoMessage, Wishes};
use crate::telemetry::TraceContext;
use crate::worker::{Cancel, Record};

/// One message of a subscription.
///
/// It borrows from the fetched batch it came in: cheap to clone, and keeping one keeps its whole batch in memory and
/// the fetch budget it occupies. To keep a message after its handler has ended, [`detach`](Self::detach) it.
///
/// ```no_run
/// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
/// use dispatcher::{Error, Message};
///
/// let subscription = dispatcher
///     .subscribe("orders", async |message: Message| {
///         println!("{}-{} {:?}", message.partition(), message.offset(), message.value());
///         Ok::<(), Error>(())
///     })
///     .start()
///     .await?;
/// subscription.join().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Message {
    source: Source,
    /// The Go dispatcher's envelope, if the value is one.
    go: Option<Arc<GoMessage<'static>>>,
}

#[derive(Clone)]
enum Source {
    Record(Record<FetchedBatch>),
    Detached(Arc<Detached>),
}

/// A message's own copy of everything.
struct Detached {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    timestamp: i64,
    attempt: u32,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    cancel: Cancel,
}

impl Message {
    pub(crate) fn new(record: Record<FetchedBatch>) -> Self {
        // A message with our id has our form; nearly all payloads of others are ruled out without parsing.
        let is_id = |(name, value): (&[u8], Option<&[u8]>)| name == envelope::ID_HEADER.as_bytes() && value.is_some();
        let is_ours = record.has_headers() && record.headers().any(is_id);
        let go = if is_ours { None } else { record.value().and_then(envelope::recognise_go) };
        Self { source: Source::Record(record), go: go.map(Arc::new) }
    }

    /// The topic it was read from; for a message that came by a retry topic, that one.
    pub fn topic(&self) -> &str {
        match &self.source {
            Source::Record(r) => &r.topic_partition().topic,
            Source::Detached(d) => &d.topic,
        }
    }

    /// The partition, from 0.
    pub fn partition(&self) -> i32 {
        match &self.source {
            Source::Record(r) => r.topic_partition().partition,
            Source::Detached(d) => d.partition,
        }
    }

    /// The place in the partition.
    pub fn offset(&self) -> i64 {
        match &self.source {
            Source::Record(r) => r.offset(),
            Source::Detached(d) => d.offset,
        }
    }

    /// The record's time in ms since 1970: the sender's, or the broker's where the topic is set so; −1 if it has none.
    pub fn timestamp(&self) -> i64 {
        match &self.source {
            Source::Record(r) => r.timestamp(),
            Source::Detached(d) => d.timestamp,
        }
    }

    /// How often this message has been given to a handler of this group, this time included: from 1. Attempts that a
    /// crash, a rebalance or a stop made void are not counted.
    pub fn attempt(&self) -> u32 {
        match &self.source {
            Source::Record(r) => r.attempt(),
            Source::Detached(d) => d.attempt,
        }
    }

    /// The key's bytes; `None` for a message without one.
    pub fn key(&self) -> Option<&[u8]> {
        let own = match &self.source {
            Source::Record(r) => r.key(),
            Source::Detached(d) => d.key.as_deref(),
        };
        own.or_else(|| self.go.as_ref().map(|go| &go.key[..]).filter(|key| !key.is_empty()))
    }

    /// The payload; `None` for a tombstone (a null value).
    pub fn value(&self) -> Option<&[u8]> {
        match &self.go {
            Some(go) => go.value.as_deref(),
            None => self.raw_value(),
        }
    }

    /// The payload, sharing the fetched batch's memory where it can; `None` for a tombstone.
    pub fn value_bytes(&self) -> Option<Bytes> {
        match (&self.go, &self.source) {
            (Some(go), _) => go.value.as_deref().map(Bytes::copy_from_slice),
            (None, Source::Record(r)) => r.value_bytes(),
            (None, Source::Detached(d)) => d.value.clone(),
        }
    }

    fn raw_value(&self) -> Option<&[u8]> {
        match &self.source {
            Source::Record(r) => r.value(),
            Source::Detached(d) => d.value.as_deref(),
        }
    }

    /// All headers in their order, repeated names and this library's own included.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let (record, detached) = match &self.source {
            Source::Record(r) => (Some(r.headers()), None),
            Source::Detached(d) => (None, Some(d.headers.iter().map(|(name, value)| (&name[..], value.as_deref())))),
        };
        record.into_iter().flatten().chain(detached.into_iter().flatten())
    }

    /// All headers but this library's own.
    pub fn user_headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.headers().filter(|(name, _)| !envelope::is_ours(name))
    }

    /// The last header of that name (Kafka allows several); `None` for a null value too.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().filter(|(n, _)| *n == name.as_bytes()).last().and_then(|(_, value)| value)
    }

    /// What the sender named the message: a uuid if it was this library or the Go dispatcher. `None` for messages
    /// of others.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        match &self.go {
            Some(go) => Some(Cow::Borrowed(&*go.task_id)).filter(|id| !id.is_empty()),
            None => self.header(envelope::ID_HEADER).map(String::from_utf8_lossy),
        }
    }

    /// Where a message that failed came from, and why it failed: for messages of a retry topic or a dead-letter topic.
    /// `None` for others.
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// use dispatcher::{Error, Message};
    ///
    /// let dead = dispatcher
    ///     .subscribe("orders.dead", async |message: Message| {
    ///         if let Some(origin) = message.origin() {
    ///             println!("{}-{} offset {}: {:?}", origin.topic(), origin.partition(), origin.offset(), origin.error());
    ///         }
    ///         Ok::<(), Error>(())
    ///     })
    ///     .start()
    ///     .await?;
    /// # dead.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn origin(&self) -> Option<Origin> {
        Origin::read(|name| self.header(name))
    }

    /// When the sender handed it over, in ms since 1970 on the sender's clock, within some 10 ms if it sent thousands a
    /// second; `None` for messages of others.
    pub fn sent_ms(&self) -> Option<i64> {
        match &self.go {
            Some(go) => go.producer_sent_time.unix_ms(),
            None => self.header(envelope::SENT_HEADER).and_then(envelope::parse_decimal),
        }
    }

    /// The place in a trace that its sender gave it, if its W3C headers say one.
    pub fn trace_context(&self) -> Option<TraceContext> {
        super::trace::context_of(self)
    }

    /// The Go dispatcher's envelope, if it came in one.
    pub(super) fn go(&self) -> Option<&GoMessage<'static>> {
        self.go.as_deref()
    }

    /// Where its sender put it, though it was read from a retry topic.
    pub(super) fn home(&self) -> (Cow<'_, str>, i32, i64) {
        let retried = matches!(&self.source, Source::Record(record) if record.stage() > 0);
        match self.origin().filter(|_| retried) {
            Some(origin) => (Cow::Owned(origin.topic), origin.partition, origin.offset),
            None => (Cow::Borrowed(self.topic()), self.partition(), self.offset()),
        }
    }

    /// What its sender asked to be told.
    pub(super) fn wishes(&self) -> Wishes {
        match &self.go {
            Some(go) => Wishes::of_go(go),
            None => Wishes::of_headers(self.headers()),
        }
    }

    /// What it tells, as a receipt or an error record.
    pub(super) fn answer(&self) -> Option<Answer<'_>> {
        match &self.go {
            Some(go) => Some(Answer::of_go(go)),
            None => Answer::of_headers(self.headers()),
        }
    }

    /// A detached copy, read as an error record of any form; `None` if it is none.
    pub(super) fn as_error_record(&self) -> Option<Self> {
        // Where no error topic says so, only the error itself tells such a record from a message.
        let tells = |a: Answer<'_>| a.error.is_some() || self.topic().ends_with(envelope::ERROR_SUFFIX);
        if self.answer().is_some_and(tells) {
            return Some(self.detach());
        }
        let go = self.raw_value().filter(|_| self.go.is_none()).and_then(envelope::recognise_go_error)?;
        Some(Self { go: Some(Arc::new(go)), ..self.detach() })
    }

    /// Whether the handler should hurry: the partition is being taken away, or the subscription stops.
    pub fn is_cancelled(&self) -> bool {
        self.cancel().is_raised()
    }

    /// Waits until the handler should hurry; what it leaves unfinished at the drain or stop time-out comes again.
    /// Cancel-safe.
    pub async fn cancelled(&self) {
        self.cancel().raised().await;
    }

    fn cancel(&self) -> &Cancel {
        match &self.source {
            Source::Record(r) => r.cancelled(),
            Source::Detached(d) => &d.cancel,
        }
    }

    /// A copy that holds on to nothing but its own bytes.
    pub fn detach(&self) -> Self {
        let Source::Record(record) = &self.source else { return self.clone() };
        let own = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        Self {
            source: Source::Detached(Arc::new(Detached {
                topic: record.topic_partition().topic.clone(),
                partition: record.topic_partition().partition,
                offset: record.offset(),
                timestamp: record.timestamp(),
                attempt: record.attempt(),
                key: record.key().map(own),
                value: record.value().map(own),
                headers: self.headers().map(|(name, value)| (own(name), value.map(own))).collect(),
                cancel: record.cancelled().clone(),
            })),
            go: self.go.clone(),
        }
    }
}

/// Names the record; payloads stay out of logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({}-{} offset {})", self.topic(), self.partition(), self.offset())
    }
}
