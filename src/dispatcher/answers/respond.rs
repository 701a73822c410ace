//! The consumers' side: once a handler has ended for good, its message's sender is told, if it asked for that. An answer
//! is acknowledged before its record counts as finished, so that no crash can lose it: whoever handles the record again
//! answers again. It is given a limited time for that, the less of it while partitions are taken away or at a stop
//! (`worker/follow.rs`): then it may be on its way only. A record that goes to a retry topic is answered there, at the end
//! of its last attempt.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join};

use super::desk::Helper;
use crate::client::fetch::FetchedBatch;
use crate::client::producer::{Choice, ProducerTopic, RecordParts};
use crate::dispatcher::Dispatcher;
use crate::dispatcher::making::HelperTopic;
use crate::dispatcher::message::Message;
use crate::envelope::{self, Answer, Place, Wishes};
use crate::error::{Error, ErrorKind, Result};
use crate::worker::{Aftercare, Ending, Record};

/// How long an answer may take until it is acknowledged. Beyond, its record is finished all the same, and the answer may
/// still come until the producer's `delivery_timeout`.
const LIMIT: Duration = Duration::from_secs(10);

/// Answers for one subscription.
#[derive(Clone)]
pub(in crate::dispatcher) struct Responder {
    dispatcher: Dispatcher,
    group: Arc<str>,
    /// Error records for all failures, asked for or not.
    publish_errors: bool,
}

impl Responder {
    pub(in crate::dispatcher) fn new(dispatcher: Dispatcher, group: &str, publish_errors: bool) -> Self {
        Self { dispatcher, group: group.into(), publish_errors }
    }

    /// Answers in the message's own form; the answers are acknowledged when this returns.
    async fn answer(&self, message: &Message, ending: &Ending) -> Result<()> {
        let mut wishes = message.wishes();
        if self.publish_errors {
            let place = if message.go().is_some() { Place::Anywhere } else { Place::Partition(message.home().1) };
            wishes.errors.get_or_insert(place);
        }
        let (topic, partition, offset) = message.home();
        let error = ending.outcome.as_ref().err().map(|error| text_of(error).into());
        let answer = Answer {
            id: message.id().unwrap_or_default(),
            topic,
            partition,
            offset,
            group: (&*self.group).into(),
            error,
            attempt: message.attempt(),
            sent_ms: message.sent_ms().unwrap_or(-1),
            received_ms: ending.begun_ms,
            handled_ms: ending.ended_ms,
        };
        let errors = wishes.errors.filter(|_| ending.outcome.is_err());
        // One that cannot be sent does not take the other with it.
        let (first, second) = join(
            self.tell(message, &answer, Helper::Errors, errors),
            self.tell(message, &answer, Helper::Replies, wishes.receipt),
        )
        .await;
        first.and(second)
    }

    async fn tell(&self, message: &Message, answer: &Answer<'_>, helper: Helper, place: Option<Place>) -> Result<()> {
        let Some(place) = place else { return Ok(()) };
        let name = helper.of(&answer.topic)?;
        let sending = async {
            let send = || self.send(message, answer, helper, &name, place);
            match send().await {
                // Its partition is gone, for the topic was made again with fewer.
                Err(error) if error.kind() == ErrorKind::NotWritten && error.code().is_none() => send().await,
                sent => sent,
            }
        };
        let sent = self.dispatcher.env().timeout(LIMIT, sending).await;
        let sent = sent.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Timeout, format!("{name} did not acknowledge it within {LIMIT:?}")))
        });
        sent.map_err(|e| {
            if e.kind() == ErrorKind::Timeout {
                // Somebody may have removed it: once metadata say so, the next answer makes it again.
                self.dispatcher.cluster().refresh();
            }
            let what = if helper == Helper::Errors { "an error record" } else { "a receipt" };
            let kind = e.kind();
            e.wrap(kind, format!("{what} for {message:?} could not be sent, and its sender may never have it"))
        })
    }

    async fn send(
        &self,
        message: &Message,
        answer: &Answer<'_>,
        helper: Helper,
        name: &str,
        place: Place,
    ) -> Result<()> {
        let own = HelperTopic::of_answers(name);
        let mut topic = self.dispatcher.helper_producer(&own).await?;
        if let Place::Partition(p) = place
            && p >= topic.partitions() as i32
        {
            topic = self.look_again(&topic).await?;
        }
        let choice = match place {
            // A sender's partition that is not there would be no reason to keep from everybody else.
            Place::Partition(p) if p < topic.partitions() as i32 => Choice::Partition(p),
            _ => Choice::Auto,
        };
        let timestamp = Some(answer.handled_ms);
        if let Some(sent) = message.go() {
            let text = envelope::encode_go(&answer.to_go(sent, topic.name()));
            let parts = RecordParts { timestamp, key: message.key(), value: Some(text.as_bytes()), headers: &[] };
            return self.dispatcher.delivered(&own, topic.append(choice, &parts).await?).await;
        }
        let ours = answer.to_headers();
        let mut headers: Vec<(&str, Option<&[u8]>)> =
            ours.iter().map(|(name, value)| (*name, Some(&value[..]))).collect();
        // Of a failure the whole message is told; a receipt's sender has it.
        let (mut key, mut value) = (None, None);
        if helper == Helper::Errors {
            (key, value) = (message.key(), message.value());
            let text = |(name, value)| Some((std::str::from_utf8(name).ok()?, value));
            headers.extend(message.user_headers().filter_map(text));
        }
        let parts = RecordParts { timestamp, key, value, headers: &headers };
        self.dispatcher.delivered(&own, topic.append(choice, &parts).await?).await
    }

    /// The topic as metadata have it now: it may have got the partition.
    async fn look_again(&self, topic: &ProducerTopic) -> Result<ProducerTopic> {
        let name = topic.name();
        if let Err(error) = self.dispatcher.cluster().refresh_now().await {
            tracing::debug!(target: "dispatcher", %error, topic = &**name, "no fresh metadata of a helper topic");
        }
        self.dispatcher.open_topic(name).await
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Responder({})", self.group)
    }
}

impl Aftercare<FetchedBatch> for Responder {
    fn concerns(&self, record: &Record<FetchedBatch>) -> bool {
        self.publish_errors
            || !Wishes::of_headers(record.headers()).is_empty()
            || record.value().is_some_and(Wishes::may_be_in_go)
    }

    fn after(&self, record: Record<FetchedBatch>, ending: Ending) -> BoxFuture<'static, Result<()>> {
        let this = self.clone();
        Box::pin(async move {
            // It is answered when its last attempt has ended.
            if ending.again { Ok(()) } else { this.answer(&Message::new(record), &ending).await }
        })
    }
}

/// What the handler said, without our own words around it.
fn text_of(error: &Error) -> String {
    let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    // In the Go form no text would mean no failure.
    if text.is_empty() { "the handler failed".to_owned() } else { text }
}
