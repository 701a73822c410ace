//! One message on its way: what can be said about it, its envelope, and what becomes of it.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::answers::{CallbackError, Expected, Helper, SendForReceipt, SendForReceipts, Time, Watcher, Watching};
use super::config::PartitionerKind;
use super::core::Dispatcher;
use super::payload::Payload;
use super::trace::{Sending, Subject};
use crate::client::producer::{self, Ack, Choice, ProducerTopic, RecordParts};
use crate::envelope::{
    self, Decimal, ERRORS_TO, Envelope, GoMessage, GoTime, ID_HEADER, MessageId, Place, RECEIPT_TO, SENT_HEADER, Wishes,
};
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{TRACEPARENT, TraceContext};

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
    /// Boxed, for most messages have none: a message that is small is moved quickly.
    watcher: Option<Box<(Duration, Watcher)>>,
    trace_parent: Option<Box<TraceContext>>,
}

/// How long failures are watched for unless told otherwise.
const WATCH: Duration = Duration::from_secs(600);

/// What is to come back for a message, and the id that tells whose it is.
struct Asked {
    id: MessageId,
    wishes: Wishes,
    watching: Option<Watching>,
}

impl Asked {
    /// The message has its place.
    fn keep(self) {
        if let Some(watching) = self.watching {
            watching.keep();
        }
    }
}

enum To<'a> {
    Name(&'a str),
    Handle(&'a ProducerTopic),
}

impl To<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Handle(topic) => topic.name(),
        }
    }
}

impl std::fmt::Debug for To<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl<'a> SendMessage<'a> {
    pub(super) fn by_name(dispatcher: &'a Dispatcher, topic: &'a str, value: Payload<'a>) -> Self {
        Self::new(dispatcher, To::Name(topic), value)
    }

    #[inline]
    pub(super) fn by_handle(dispatcher: &'a Dispatcher, topic: &'a ProducerTopic, value: Payload<'a>) -> Self {
        Self::new(dispatcher, To::Handle(topic), value)
    }

    #[inline]
    fn new(dispatcher: &'a Dispatcher, to: To<'a>, value: Payload<'a>) -> Self {
        let envelope = dispatcher.config().envelope;
        let (key, headers, timestamp) = (None, Vec::new(), None);
        let (ensure_order, partition, watcher) = (false, None, None);
        Self {
            dispatcher,
            to,
            value,
            key,
            headers,
            ensure_order,
            partition,
            timestamp,
            envelope,
            watcher,
            trace_parent: None,
        }
    }

    pub(super) fn dispatcher(&self) -> &Dispatcher {
        self.dispatcher
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
    #[inline]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a header; a name may come several times, a value may be `None`.
    pub fn header(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Payload<'a>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The record's time in ms since 1970. Default now; while thousands of messages a second are sent, by a clock that may
    /// be some 10 ms behind.
    pub fn timestamp(mut self, ms: i64) -> Self {
        self.timestamp = Some(ms);
        self
    }

    /// Another envelope than the dispatcher's for this message.
    pub fn envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = envelope;
        self
    }

    /// Goes on with this trace, such as that of a message on whose behalf this one is sent, whatever
    /// [`trace_context`](super::Builder::trace_context) says: the message gets W3C headers with a span id of its own. Not
    /// needed within a handler, whose trace its sends go on with by themselves. A header `traceparent` of your own wins.
    pub fn trace_parent(mut self, context: &TraceContext) -> Self {
        self.trace_parent = Some(Box::new(context.clone()));
        self
    }

    /// Asks the consumers for a receipt: awaited, the message resolves to the [`Receipt`](super::Receipt) of the first group
    /// whose handler has ended with it, well or not, or to an error when `timeout` is over, whatever was slow: brokers that
    /// are down, topics to be made, a full buffer, or no consumer. [`SendForReceipt`](super::SendForReceipt) says which.
    ///
    /// The receipt travels through the helper topic `<topic>_Reply`, which is made if it does not exist. It comes from this
    /// library's consumers, and from the Go dispatcher's if the message is in its [`Envelope`].
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// use std::time::Duration;
    ///
    /// let receipt = dispatcher.send("orders", "one espresso").receipt(Duration::from_secs(5)).await?;
    /// println!("{} says {:?}", receipt.group(), receipt.outcome());
    /// # Ok(())
    /// # }
    /// ```
    pub fn receipt(self, timeout: Duration) -> SendForReceipt<'a> {
        SendForReceipt::new(self, timeout)
    }

    /// As [`receipt`](Self::receipt), for so many groups; none is refused with
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument).
    pub fn receipts(self, groups: usize, timeout: Duration) -> SendForReceipts<'a> {
        SendForReceipts::new(self, groups, timeout)
    }

    /// Calls `handler` for each group whose handler fails for good with this message, within ten minutes and as long as
    /// the dispatcher lives; [`watch_errors_for`](Self::watch_errors_for) takes another time.
    ///
    /// Failures travel through the helper topic `<topic>_ERR`, which is made if it does not exist. At most 100,000 messages
    /// are watched: beyond that the oldest is not, any more. A group that gets the message again and fails again is not
    /// told of again.
    ///
    /// At most 64 handlers run at once, and further failures wait. A handler that has not ended after a second lets the next
    /// one begin and goes on beside it; after 60 s, or when 1,000 newer ones are as slow, it is dropped where it waits, which
    /// is logged. So one that hangs costs itself only, unless it blocks its thread.
    ///
    /// ```no_run
    /// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
    /// let tell = async |failure: dispatcher::CallbackError| println!("{failure}");
    /// dispatcher.send("orders", "one espresso").watch_errors(tell).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_errors<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(CallbackError) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.watch_errors_for(WATCH, handler)
    }

    /// As [`watch_errors`](Self::watch_errors), for so long.
    pub fn watch_errors_for<F, Fut>(mut self, length: Duration, handler: F) -> Self
    where
        F: Fn(CallbackError) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.watcher = Some(Box::new((length, Watcher::new(handler))));
        self
    }

    /// Gives the message its place in the order and returns; it is sent in the background, in one batch with its
    /// neighbours. Waits for room in the buffer, for at most `max_block`.
    ///
    /// # Errors
    /// Nothing was sent, whichever it is: [`ErrorKind::InvalidArgument`] or [`ErrorKind::MessageTooLarge`] for the message,
    /// [`ErrorKind::NotWritten`] if `buffer_memory` stayed used up for `max_block`, [`ErrorKind::Closed`], or why the topic
    /// is not there, as [`Dispatcher::topic`](crate::Dispatcher::topic) says. What happens later, the [`Delivery`] tells.
    ///
    /// With memory free it does not wait. Whoever sends many in a loop in a task lets others have their turn now and then
    /// (`tokio::task::yield_now`): what writes to the brokers may have to run on the same thread.
    ///
    /// Cancel-safe: dropped before it ends, the message is not sent.
    pub async fn enqueue(self) -> Result<Delivery> {
        let topic = self.topic().await?;
        let asked = match &self.watcher {
            None => None,
            Some(_) => Some(self.ask(&topic, false).await?),
        };
        let sending = self.sending(&topic);
        let appended = self.append(&topic, asked.as_ref(), Sending::headers(&sending)).await;
        if appended.is_ok()
            && let Some(asked) = asked
        {
            asked.keep();
        }
        Delivery::traced(appended, sending)
    }

    /// As [`enqueue`](Self::enqueue), and its receipts are waited for. When the time is over before, nothing was sent.
    pub(super) async fn enqueue_for_receipts(self, time: &Time) -> Result<(Delivery, Expected)> {
        let name = self.to.name();
        let topic = time.step(name, "looking for its topic", self.topic()).await?;
        let asked = time.step(name, "looking for the topic of what comes back", self.ask(&topic, true)).await?;
        // Before the message can be answered.
        let expected = self.dispatcher.desk().expect(asked.id);
        let sending = self.sending(&topic);
        let append = self.append(&topic, Some(&asked), Sending::headers(&sending));
        let appended = time.step(name, "waiting for room in the buffer", append).await;
        if appended.is_ok() {
            asked.keep();
        }
        Ok((Delivery::traced(appended, sending)?, expected))
    }

    async fn topic(&self) -> Result<Cow<'_, ProducerTopic>> {
        match self.to {
            To::Handle(topic) => Ok(Cow::Borrowed(topic)),
            To::Name(name) => Ok(Cow::Owned(self.dispatcher.producer_topic(name).await?)),
        }
    }

    /// Makes sure that what comes back is read.
    async fn ask(&self, topic: &ProducerTopic, receipt: bool) -> Result<Asked> {
        let everywhere = match self.envelope {
            Envelope::Headers => false,
            Envelope::GoJson => true,
            Envelope::Raw => {
                let text =
                    "Envelope::Raw says nothing beside the payload, so nothing can come back: use another envelope";
                return Err(Error::new(ErrorKind::InvalidArgument, text));
            }
        };
        let desk = self.dispatcher.desk();
        let mut asked = Asked { id: self.new_id(), wishes: Wishes::default(), watching: None };
        if receipt {
            let place = desk.place(self.dispatcher, topic.name(), Helper::Replies, everywhere).await?;
            asked.wishes.receipt = Some(place);
        }
        if let Some((length, watcher)) = self.watcher.as_deref() {
            let place = desk.place(self.dispatcher, topic.name(), Helper::Errors, everywhere).await?;
            asked.wishes.errors = Some(place);
            asked.watching = Some(desk.watch(asked.id, watcher.clone(), *length));
        }
        Ok(asked)
    }

    fn new_id(&self) -> MessageId {
        MessageId::from_random(self.dispatcher.env().random(|rng| rng.u128(..)))
    }

    fn key_for<'b>(&'b self, topic: &'b ProducerTopic) -> Option<&'b [u8]> {
        match &self.key {
            Some(key) => key.as_slice(),
            None if self.ensure_order => Some(topic.name().as_bytes()),
            None => None,
        }
    }

    /// What is traced of this send: nothing, for most.
    #[inline]
    fn sending(&self, topic: &ProducerTopic) -> Option<Box<Sending>> {
        let carries = || self.envelope != Envelope::GoJson && !self.headers.iter().any(|(name, _)| name == TRACEPARENT);
        let (key, value) = (self.key_for(topic), self.value.as_slice());
        let subject = Subject { topic: topic.name(), key, value, parent: self.trace_parent.as_deref(), carries };
        Sending::begin(self.dispatcher.tracing(), self.dispatcher.env(), subject)
    }

    /// `carried` are headers to be added.
    async fn append(
        &self,
        topic: &ProducerTopic,
        asked: Option<&Asked>,
        carried: &[(String, String)],
    ) -> Result<Delivery> {
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
        let key = self.key_for(topic);
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
        // Receipts tell how long a message took.
        let now = || if asked.is_some() { env.wall_ms() } else { env.stamp_ms() };
        let new_id = || asked.map_or_else(|| self.new_id(), |asked| asked.id);
        let wishes = asked.map(|asked| asked.wishes).unwrap_or_default();
        let mut headers: Vec<(&str, Option<&[u8]>)>;
        match self.envelope {
            Envelope::Headers => {
                let now = now();
                parts.timestamp = self.timestamp.or(Some(now));
                let (id, sent) = (new_id(), Decimal::new(now));
                let ours = [(ID_HEADER, Some(id.as_bytes())), (SENT_HEADER, Some(sent.as_bytes()))];
                let wished = [(RECEIPT_TO, wishes.receipt), (ERRORS_TO, wishes.errors)];
                let wished = wished.map(|(name, place)| match place {
                    Some(Place::Partition(p)) => Some((name, Decimal::new(p.into()))),
                    _ => None,
                });
                if self.headers.is_empty() && wishes.is_empty() && carried.is_empty() {
                    parts.headers = &ours;
                } else {
                    headers = self.user_headers(carried);
                    headers.extend(ours);
                    headers.extend(wished.iter().flatten().map(|(name, place)| (*name, Some(place.as_bytes()))));
                    parts.headers = &headers;
                }
                let inner = topic.append(choice, &parts).await?;
                Ok(Delivery { inner, id: Some(id), span: None })
            }
            Envelope::Raw => {
                if !(self.headers.is_empty() && carried.is_empty()) {
                    headers = self.user_headers(carried);
                    parts.headers = &headers;
                }
                Ok(Delivery { inner: topic.append(choice, &parts).await?, id: None, span: None })
            }
            Envelope::GoJson => {
                if !self.headers.is_empty() {
                    return invalid("the Go-JSON envelope carries no headers: leave them out".into());
                }
                let Some(value) = parts.value else {
                    return invalid("the Go-JSON envelope carries no tombstone: send one with Envelope::Raw".into());
                };
                let (id, now) = (new_id(), now());
                let text = envelope::encode_go(&GoMessage {
                    task_id: id.as_str().into(),
                    topic: Cow::Borrowed(topic.name()),
                    key: key.unwrap_or_default().into(),
                    value: Some(value.into()),
                    producer_sent_time: GoTime::from_unix_ms(now),
                    is_reply_message: wishes.receipt.is_some(),
                    is_send_error: wishes.errors.is_some(),
                    ..GoMessage::default()
                });
                parts.timestamp = self.timestamp.or(Some(now));
                parts.value = Some(text.as_bytes());
                Ok(Delivery { inner: topic.append(choice, &parts).await?, id: Some(id), span: None })
            }
        }
    }

    fn user_headers<'b>(&'b self, carried: &'b [(String, String)]) -> Vec<(&'b str, Option<&'b [u8]>)> {
        let own = self.headers.iter().map(|(name, value)| (&**name, value.as_slice()));
        own.chain(carried.iter().map(|(name, value)| (&**name, Some(value.as_bytes())))).collect()
    }
}

/// Sends and waits for the acknowledgement: what [`enqueue`](SendMessage::enqueue) fails with, or what becomes of the
/// [`Delivery`]. At most for as long as looking for the topic takes (`request_timeout` for each broker that is asked), then
/// `max_block`, then `delivery_timeout`.
///
/// Of its errors only [`ErrorKind::MaybeWritten`] leaves open whether the message is in the log; with any other it is not.
/// Dropped before it ends, the message may or may not be sent.
impl<'a> IntoFuture for SendMessage<'a> {
    type Output = Result<SendReport>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.enqueue().await?.await })
    }
}

/// A message that has its place in the order. Awaited, it resolves when all in-sync replicas have it, or when it has
/// failed, within `delivery_timeout`: [`ErrorKind::NotWritten`] if it is certainly not in the log (the cause is its
/// `source`), [`ErrorKind::MessageTooLarge`] if the broker refused it for that, [`ErrorKind::MaybeWritten`] if it is unknown.
///
/// Cancel-safe. Dropping it does not unsend the message.
#[derive(Debug)]
#[must_use = "a Delivery tells whether the message was written"]
pub struct Delivery {
    inner: producer::Delivery,
    id: Option<MessageId>,
    /// Boxed, for most messages are not traced.
    span: Option<Box<tracing::Span>>,
}

impl Delivery {
    /// As it was placed, to be traced to its end.
    #[inline]
    fn traced(placed: Result<Self>, sending: Option<Box<Sending>>) -> Result<Self> {
        let Some(sending) = sending else { return placed };
        let told = placed.as_ref().map(|delivery| (delivery.id(), delivery.partition()));
        let span = sending.placed(told);
        placed.map(|delivery| Self { span, ..delivery })
    }

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
        let polled = Pin::new(&mut self.inner).poll(cx);
        if let Poll::Ready(result) = &polled
            && let Some(span) = self.span.take()
        {
            super::trace::ended(&span, result);
        }
        polled.map_ok(|ack| SendReport { ack, id })
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
