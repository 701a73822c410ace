//! The consumers' side: once a handler has ended for good, its message's sender is told, if it asked for that.

use std::sync::Arc;
use std::time::Duration;

use super::desk::Helper;
use crate::client::producer::{Choice, RecordParts};
use crate::dispatcher::Dispatcher;
use crate::dispatcher::message::Message;
use crate::envelope::{self, Answer, Place};
use crate::error::{Error, ErrorKind, Result};

/// How long an answer may wait for its helper topic and for room in the producer's buffer.
const LIMIT: Duration = Duration::from_secs(10);

/// Answers for one subscription.
pub(in crate::dispatcher) struct Responder {
    dispatcher: Dispatcher,
    group: Arc<str>,
    /// Error records for all failures, asked for or not.
    publish_errors: bool,
}

impl Responder {
    pub(in crate::dispatcher) fn new(dispatcher: Dispatcher, group: &str, publish_errors: bool) -> Arc<Self> {
        Arc::new(Self { dispatcher, group: group.into(), publish_errors })
    }

    /// Whether anything is to be done for this message once it is handled, or has failed.
    pub(in crate::dispatcher) fn concerns(&self, message: &Message) -> bool {
        self.publish_errors || !message.wishes().is_empty()
    }

    /// Answers in the message's own form. The answers are on their way when this returns; nobody waits for their
    /// acknowledgement.
    ///
    /// # Errors
    /// An answer could not be sent.
    pub(in crate::dispatcher) async fn answer(
        &self,
        message: &Message,
        begun_ms: i64,
        outcome: std::result::Result<(), &Error>,
    ) -> Result<()> {
        let mut wishes = message.wishes();
        if self.publish_errors {
            let place = if message.go().is_some() { Place::Anywhere } else { Place::Partition(message.partition()) };
            wishes.errors.get_or_insert(place);
        }
        let env = self.dispatcher.env();
        let error = outcome.err().map(|error| text_of(error).into());
        let answer = Answer {
            id: message.id().unwrap_or_default(),
            topic: message.topic().into(),
            partition: message.partition(),
            offset: message.offset(),
            group: (&*self.group).into(),
            error,
            attempt: message.attempt(),
            sent_ms: message.sent_ms().unwrap_or(-1),
            received_ms: begun_ms,
            handled_ms: env.wall_ms(),
        };
        let errors = wishes.errors.filter(|_| outcome.is_err());
        for (helper, place) in [(Helper::Errors, errors), (Helper::Replies, wishes.receipt)] {
            let Some(place) = place else { continue };
            let sent = env.timeout(LIMIT, self.send(message, &answer, helper, place)).await;
            sent.unwrap_or_else(|| Err(Error::new(ErrorKind::Timeout, format!("not sent within {LIMIT:?}")))).map_err(
                |e| {
                    let what = if helper == Helper::Errors { "an error record" } else { "a receipt" };
                    let kind = e.kind();
                    e.wrap(kind, format!("{what} for {message:?} could not be sent"))
                },
            )?;
        }
        Ok(())
    }

    async fn send(&self, message: &Message, answer: &Answer<'_>, helper: Helper, place: Place) -> Result<()> {
        let topic = self.dispatcher.helper_producer(&helper.of(message.topic())?).await?;
        let choice = match place {
            // A sender's partition that is not there would be no reason to keep from everybody else.
            Place::Partition(p) if p < topic.partitions() as i32 => Choice::Partition(p),
            _ => Choice::Auto,
        };
        let timestamp = Some(answer.handled_ms);
        if let Some(sent) = message.go() {
            let text = envelope::encode_go(&answer.to_go(sent, topic.name()));
            let parts = RecordParts { timestamp, key: message.key(), value: Some(text.as_bytes()), headers: &[] };
            let _unwatched = topic.append(choice, &parts).await?;
            return Ok(());
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
        let _unwatched = topic.append(choice, &parts).await?;
        Ok(())
    }
}

/// What the handler said, without our own words around it.
fn text_of(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
