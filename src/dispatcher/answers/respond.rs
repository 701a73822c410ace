//! The consumers' side: once a handler has ended for good, its message's sender is told, if it asked for that. An answer
//! is acknowledged before its record counts as finished, so that no crash can lose it: whoever handles the record again
//! answers again. It is given a limited time for that, the less of it while partitions are taken away or at a stop
//! (`worker/follow.rs`): then it may be on its way only. A record that goes to a retry topic is answered there, at the end
//! of its last attempt.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join};

use super::desk::Helper;
use crate::client::fetch::FetchedBatch;
use crate::client::producer::{Choice, Delivery, ProducerTopic, RecordParts};
use crate::dispatcher::Dispatcher;
use crate::dispatcher::making::HelperTopic;
use crate::dispatcher::message::Message;
use crate::envelope::{self, Answer, AnswerHeaders, Place, Wishes};
use crate::error::{Error, ErrorKind, Result};
use crate::worker::{Aftercare, Begun, Ending, Record};

/// How long an answer may take until it is acknowledged. Beyond, its record is finished all the same, and the answer may
/// still come.
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
        let (errors, receipt) = self.places(message, ending);
        let answer = self.text(message, ending);
        // One that cannot be sent does not take the other with it.
        let (first, second) = join(
            self.tell(message, &answer, Helper::Errors, errors),
            self.tell(message, &answer, Helper::Replies, receipt),
        )
        .await;
        first.and(second)
    }

    /// Where an error record and a receipt are to go.
    fn places(&self, message: &Message, ending: &Ending) -> (Option<Place>, Option<Place>) {
        let mut wishes = message.wishes();
        if self.publish_errors {
            let place = if message.go().is_some() { Place::Anywhere } else { Place::Partition(message.home().1) };
            wishes.errors.get_or_insert(place);
        }
        (wishes.errors.filter(|_| ending.outcome.is_err()), wishes.receipt)
    }

    fn text<'a>(&'a self, message: &'a Message, ending: &Ending) -> Answer<'a> {
        let (topic, partition, offset) = message.home();
        Answer {
            id: message.id().unwrap_or_default(),
            topic,
            partition,
            offset,
            group: (&*self.group).into(),
            error: ending.outcome.as_ref().err().map(|error| text_of(error).into()),
            attempt: message.attempt(),
            sent_ms: message.sent_ms().unwrap_or(-1),
            received_ms: ending.begun_ms,
            handled_ms: ending.ended_ms,
        }
    }

    async fn tell(&self, message: &Message, answer: &Answer<'_>, helper: Helper, place: Option<Place>) -> Result<()> {
        let Some(place) = place else { return Ok(()) };
        let name = helper.of(&answer.topic)?;
        let sending = async {
            let send = || self.send(message, answer, helper, &name, place);
            match send().await {
                Err(error) if may_go_elsewhere(&error) => send().await,
                sent => sent,
            }
        };
        let sent = self.dispatcher.env().timeout(LIMIT, sending).await;
        sent.unwrap_or_else(|| Err(late(&name))).map_err(|error| self.not_sent(message, helper, error))
    }

    fn not_sent(&self, message: &Message, helper: Helper, error: Error) -> Error {
        if error.kind() == ErrorKind::Timeout {
            // Somebody may have removed it: once metadata say so, the next answer makes it again.
            self.dispatcher.cluster().refresh();
        }
        let what = if helper == Helper::Errors { "an error record" } else { "a receipt" };
        let kind = error.kind();
        error.wrap(kind, format!("{what} for {message:?} could not be sent, and its sender may never have it"))
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
        if !has(&topic, place) {
            topic = self.look_again(&topic).await?;
        }
        let written = Written::new(message, answer, &topic);
        let headers = written.headers(message, helper);
        let parts = written.parts(message, helper, answer.handled_ms, &headers);
        self.dispatcher.delivered(&own, topic.append(choice(&topic, place), &parts).await?).await
    }

    /// What needs no waiting: most answers, for their topic is known and memory is free.
    fn send_now(&self, message: &Message, answer: &Answer<'_>, helper: Helper, place: Place) -> Option<Delivery> {
        let topic = self.dispatcher.known_helper(&helper.of(&answer.topic).ok()?).filter(|topic| has(topic, place))?;
        let written = Written::new(message, answer, &topic);
        let headers = written.headers(message, helper);
        let parts = written.parts(message, helper, answer.handled_ms, &headers);
        topic.try_append(choice(&topic, place), &parts)?.ok()
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
            || (record.has_headers() && !Wishes::of_headers(record.headers()).is_empty())
            || record.value().is_some_and(Wishes::may_be_in_go)
    }

    fn begin(&self, record: &Record<FetchedBatch>, ending: &Ending) -> Begun {
        // It is answered when its last attempt has ended.
        if ending.again {
            return Begun::Nothing;
        }
        let message = Message::new(record.clone());
        let (helper, place) = match self.places(&message, ending) {
            (None, None) => return Begun::Nothing,
            (None, Some(place)) => (Helper::Replies, place),
            (Some(place), None) => (Helper::Errors, place),
            (Some(_), Some(_)) => return Begun::Not,
        };
        let answer = self.text(&message, ending);
        self.send_now(&message, &answer, helper, place).map_or(Begun::Not, Begun::Written)
    }

    fn settled(&self, delivery: &Delivery) -> BoxFuture<'static, Result<()>> {
        let (this, batch) = (self.clone(), delivery.batch().clone());
        let own = HelperTopic::of_answers(&delivery.partition().topic);
        Box::pin(async move {
            let settled = batch.settled().map(Ok);
            let settled = this.dispatcher.env().timeout(LIMIT, this.dispatcher.delivered(&own, settled)).await;
            settled.unwrap_or_else(|| Err(late(&own.name)))
        })
    }

    fn failed(&self, record: Record<FetchedBatch>, ending: Ending, error: Error) -> BoxFuture<'static, Result<()>> {
        let this = self.clone();
        Box::pin(async move {
            let message = Message::new(record);
            if may_go_elsewhere(&error) {
                // Within the time of the first try.
                let env = this.dispatcher.env();
                let spent = Duration::from_millis(env.wall_ms().saturating_sub(ending.ended_ms).max(0).unsigned_abs());
                let again = env.timeout(LIMIT.saturating_sub(spent), this.answer(&message, &ending)).await;
                return again.unwrap_or_else(|| Err(error));
            }
            let helper = if this.places(&message, &ending).0.is_some() { Helper::Errors } else { Helper::Replies };
            Err(this.not_sent(&message, helper, error))
        })
    }

    fn after(&self, record: Record<FetchedBatch>, ending: Ending) -> BoxFuture<'static, Result<()>> {
        let this = self.clone();
        Box::pin(async move { this.answer(&Message::new(record), &ending).await })
    }
}

/// An answer as a record says it.
struct Written<'a> {
    /// In Go's form.
    go: Option<String>,
    /// In ours.
    headers: AnswerHeaders<'a>,
}

impl<'a> Written<'a> {
    fn new(message: &Message, answer: &'a Answer<'_>, topic: &ProducerTopic) -> Self {
        match message.go() {
            Some(sent) => {
                let go = envelope::encode_go(&answer.to_go(sent, topic.name()));
                Self { go: Some(go), headers: Vec::new() }
            }
            None => Self { go: None, headers: answer.to_headers() },
        }
    }

    fn headers<'h>(&'h self, message: &'h Message, helper: Helper) -> Vec<(&'h str, Option<&'h [u8]>)> {
        let mut headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))).collect();
        if self.go.is_none() && helper == Helper::Errors {
            let text = |(name, value)| Some((std::str::from_utf8(name).ok()?, value));
            headers.extend(message.user_headers().filter_map(text));
        }
        headers
    }

    /// Of a failure the whole message is told; a receipt's sender has it.
    fn parts<'h>(
        &'h self,
        message: &'h Message,
        helper: Helper,
        handled_ms: i64,
        headers: &'h [(&'h str, Option<&'h [u8]>)],
    ) -> RecordParts<'h> {
        let (key, value) = match (&self.go, helper) {
            (Some(text), _) => (message.key(), Some(text.as_bytes())),
            (None, Helper::Errors) => (message.key(), message.value()),
            (None, Helper::Replies) => (None, None),
        };
        RecordParts { timestamp: Some(handled_ms), key, value, headers }
    }
}

fn has(topic: &ProducerTopic, place: Place) -> bool {
    match place {
        Place::Partition(p) => p < topic.partitions() as i32,
        Place::Anywhere => true,
    }
}

/// A sender's partition that is not there would be no reason to keep from everybody else.
fn choice(topic: &ProducerTopic, place: Place) -> Choice {
    match place {
        Place::Partition(p) if has(topic, place) => Choice::Partition(p),
        _ => Choice::Auto,
    }
}

/// The partition is gone, for the topic was made again with fewer.
fn may_go_elsewhere(error: &Error) -> bool {
    error.kind() == ErrorKind::NotWritten && error.code().is_none()
}

fn late(topic: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("{topic} did not acknowledge it within {LIMIT:?}"))
}

/// What the handler said, without our own words around it.
fn text_of(error: &Error) -> String {
    let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    // In the Go form no text would mean no failure.
    if text.is_empty() { "the handler failed".to_owned() } else { text }
}
