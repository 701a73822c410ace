//! What a sender may ask back for, and what it gets: a receipt once a group's handler has ended, an error record when it
//! has failed. In our form both are Kafka headers; a Go dispatcher's wishes and answers are fields of its JSON object.
//! Receipts go to `<topic>_Reply`, error records to `<topic>_ERR`, in the partition that the sender reads.

use std::borrow::Cow;

use super::headers::{Decimal, ID_HEADER, SENT_HEADER, parse_decimal};
use super::{GoMessage, GoTime};

/// The partition of `<topic>_Reply` in which the sender waits for receipts, decimal.
pub(crate) const RECEIPT_TO: &str = "dispatcher-receipt-to";
/// The partition of `<topic>_ERR` in which the sender watches for failures, decimal.
pub(crate) const ERRORS_TO: &str = "dispatcher-errors-to";
const GROUP: &str = "dispatcher-group";
const ERROR: &str = "dispatcher-error";
const RECEIVED: &str = "dispatcher-received-ms";
const HANDLED: &str = "dispatcher-handled-ms";
const ATTEMPT: &str = "dispatcher-attempt";
const TOPIC: &str = "dispatcher-topic";
const PARTITION: &str = "dispatcher-partition";
const OFFSET: &str = "dispatcher-offset";

/// All of them.
pub(super) const NAMES: [&str; 10] =
    [RECEIPT_TO, ERRORS_TO, GROUP, ERROR, RECEIVED, HANDLED, ATTEMPT, TOPIC, PARTITION, OFFSET];

/// Kafka's bound is the batch's; an error's text beyond this is cut.
const MAX_ERROR: usize = 16 << 10;

pub(crate) const REPLY_SUFFIX: &str = "_Reply";
pub(crate) const ERROR_SUFFIX: &str = "_ERR";

/// Whether a header asks for an answer.
pub(crate) fn is_wish(name: &[u8]) -> bool {
    name == RECEIPT_TO.as_bytes() || name == ERRORS_TO.as_bytes()
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Partition(i32),
    /// Where its key belongs; its reader reads all partitions.
    Anywhere,
}

/// What the sender of a message asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    pub(crate) receipt: Option<Place>,
    pub(crate) errors: Option<Place>,
}

impl Wishes {
    pub(crate) fn of_headers<'a>(headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Self {
        let mut wishes = Self::default();
        for (name, value) in headers {
            let place = || Some(Place::Partition(i32::try_from(parse_decimal(value?)?).ok()?));
            match name {
                _ if name == RECEIPT_TO.as_bytes() => wishes.receipt = place(),
                _ if name == ERRORS_TO.as_bytes() => wishes.errors = place(),
                _ => {}
            }
        }
        wishes
    }

    pub(crate) fn of_go(go: &GoMessage<'_>) -> Self {
        Self {
            receipt: go.is_reply_message.then_some(Place::Anywhere),
            errors: go.is_send_error.then_some(Place::Anywhere),
        }
    }

    /// Whether a value may be a Go envelope that asks for something, from a look at its end, where Go writes the wishes.
    pub(crate) fn may_be_in_go(value: &[u8]) -> bool {
        value.first() == Some(&b'{')
            && ends_in_a_truth(value)
            && match value.last_chunk() {
                Some(end) => ends_with_true(end),
                None => value.windows(4).any(|word| word == b"true"),
            }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.receipt.is_none() && self.errors.is_none()
    }
}

/// Whether the last thing in an object may be `true` or `false`.
fn ends_in_a_truth(value: &[u8]) -> bool {
    value.trim_ascii_end().strip_suffix(b"}").is_some_and(|inside| inside.trim_ascii_end().ends_with(b"e"))
}

/// More than the wishes take. For every message's payload comes through here, without branches and in whole vectors.
fn ends_with_true(end: &[u8; 67]) -> bool {
    const { assert!(r#""IsReplyMessage":true,"IsSendError":true}"#.len() + 16 <= 64) };
    let rest = end[1..65].iter().zip(&end[2..66]).zip(&end[3..]);
    let differences = end[..64].iter().zip(rest).map(|(t, ((r, u), e))| t ^ b't' | r ^ b'r' | u ^ b'u' | e ^ b'e');
    differences.fold(u8::MAX, u8::min) == 0
}

/// How it went, for one message and one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer<'a> {
    pub(crate) id: Cow<'a, str>,
    /// Where the message was read.
    pub(crate) topic: Cow<'a, str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) group: Cow<'a, str>,
    /// `None`: handled.
    pub(crate) error: Option<Cow<'a, str>>,
    /// From 1; 0 unknown.
    pub(crate) attempt: u32,
    /// All in ms since 1970, of the clocks of those who did it; −1 unknown.
    pub(crate) sent_ms: i64,
    pub(crate) received_ms: i64,
    /// Unknown in a Go consumer's reply, which it sends before its callback runs.
    pub(crate) handled_ms: i64,
}

/// A record's headers.
pub(crate) type Headers<'h> = Vec<(&'static str, HeaderText<'h>)>;

/// The value of a header; numbers are written where they are.
pub(crate) enum HeaderText<'h> {
    Text(&'h str),
    Number(Decimal),
}

impl HeaderText<'_> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Number(number) => number.as_bytes(),
        }
    }
}

impl<'a> Answer<'a> {
    /// A copy that borrows nothing.
    pub(crate) fn to_owned(&self) -> Answer<'static> {
        let own = |text: &Cow<'a, str>| Cow::Owned(text.as_ref().to_owned());
        Answer {
            id: own(&self.id),
            topic: own(&self.topic),
            group: own(&self.group),
            error: self.error.as_ref().map(own),
            ..*self
        }
    }

    /// As headers of a record in our form.
    pub(crate) fn to_headers(&self) -> Headers<'_> {
        let number = |n: i64| HeaderText::Number(Decimal::new(n));
        let mut headers = Vec::with_capacity(NAMES.len());
        headers.extend([
            (ID_HEADER, HeaderText::Text(&self.id)),
            (TOPIC, HeaderText::Text(&self.topic)),
            (PARTITION, number(self.partition.into())),
            (OFFSET, number(self.offset)),
            (GROUP, HeaderText::Text(&self.group)),
            (ATTEMPT, number(self.attempt.into())),
        ]);
        if let Some(error) = &self.error {
            headers.push((ERROR, HeaderText::Text(cut(error, MAX_ERROR))));
        }
        let times = [(SENT_HEADER, self.sent_ms), (RECEIVED, self.received_ms), (HANDLED, self.handled_ms)];
        headers.extend(times.into_iter().filter(|(_, ms)| *ms >= 0).map(|(name, ms)| (name, number(ms))));
        headers
    }

    /// Of a record in our form; `None` if it is no answer.
    pub(crate) fn of_headers(headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Option<Self> {
        let mut answer =
            Self { partition: -1, offset: -1, sent_ms: -1, received_ms: -1, handled_ms: -1, ..Self::default() };
        let mut known = (false, false);
        for (name, value) in headers {
            let Some(value) = value else { continue };
            let text = || String::from_utf8_lossy(value);
            let number = || parse_decimal(value).unwrap_or(-1);
            match std::str::from_utf8(name).unwrap_or_default() {
                ID_HEADER => (answer.id, known.0) = (text(), true),
                GROUP => (answer.group, known.1) = (text(), true),
                ERROR => answer.error = Some(text()),
                TOPIC => answer.topic = text(),
                PARTITION => answer.partition = i32::try_from(number()).unwrap_or(-1),
                OFFSET => answer.offset = number(),
                ATTEMPT => answer.attempt = u32::try_from(number()).unwrap_or_default(),
                SENT_HEADER => answer.sent_ms = number(),
                RECEIVED => answer.received_ms = number(),
                HANDLED => answer.handled_ms = number(),
                _ => {}
            }
        }
        (known == (true, true)).then_some(answer)
    }

    /// Of a Go dispatcher's reply or error record, or one of ours in its form.
    pub(crate) fn of_go(go: &'a GoMessage<'_>) -> Self {
        let ms = |time: &GoTime| time.unix_ms().filter(|ms| *ms > 0).unwrap_or(-1);
        Self {
            id: Cow::Borrowed(&go.task_id),
            topic: Cow::Borrowed(without_suffix(&go.topic)),
            partition: go.partition,
            offset: go.offset,
            group: Cow::Borrowed(&go.consumer_group_id),
            error: Some(Cow::Borrowed(&*go.consumer_error_str)).filter(|error| !error.is_empty()),
            attempt: 0,
            sent_ms: ms(&go.producer_sent_time),
            received_ms: ms(&go.consumer_received_time),
            handled_ms: ms(&go.consumer_finish_time),
        }
    }

    /// In a Go dispatcher's form: what it sent, completed, as a record of `topic`.
    pub(crate) fn to_go<'b>(&'b self, sent: &'b GoMessage<'_>, topic: &'b str) -> GoMessage<'b> {
        GoMessage {
            task_id: Cow::Borrowed(&sent.task_id),
            topic: Cow::Borrowed(topic),
            key: Cow::Borrowed(&sent.key),
            value: sent.value.as_deref().map(Cow::Borrowed),
            partition: self.partition,
            offset: self.offset,
            consumer_group_id: Cow::Borrowed(&self.group),
            consumer_error_str: Cow::Borrowed(cut(self.error.as_deref().unwrap_or_default(), MAX_ERROR)),
            producer_sent_time: sent.producer_sent_time,
            consumer_received_time: GoTime::from_unix_ms(self.received_ms),
            consumer_finish_time: GoTime::from_unix_ms(self.handled_ms),
            ..GoMessage::default()
        }
    }
}

/// The topic that an answer's topic belongs to.
pub(crate) fn without_suffix(topic: &str) -> &str {
    topic.strip_suffix(REPLY_SUFFIX).or_else(|| topic.strip_suffix(ERROR_SUFFIX)).unwrap_or(topic)
}

/// At most so many bytes of a text, for a header; ends between two characters.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=text.len().min(bytes)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer<'static> {
        Answer {
            id: "1f0d4eb2-af60-4a33-8dd2-4442ff45f65c".into(),
            topic: "orders".into(),
            partition: 3,
            offset: 42,
            group: "kitchen:orders".into(),
            error: Some("no beans".into()),
            attempt: 2,
            sent_ms: 1_000,
            received_ms: 1_010,
            handled_ms: 1_020,
        }
    }

    fn read<'a>(headers: &'a Headers<'_>) -> Option<Answer<'a>> {
        Answer::of_headers(headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))))
    }

    #[test]
    fn an_answer_reads_back_from_its_headers() {
        assert_eq!(read(&answer().to_headers()), Some(answer()));
        let early = Answer { error: None, handled_ms: -1, ..answer() };
        assert_eq!(read(&early.to_headers()), Some(early.clone()));
        assert_eq!(read(&vec![(ID_HEADER, HeaderText::Text("x"))]), None, "a message is no answer");
    }

    #[test]
    fn a_long_error_is_cut_between_two_characters() {
        let long = Answer { error: Some("é".repeat(MAX_ERROR).into()), ..answer() };
        let headers = long.to_headers();
        let error = read(&headers).and_then(|a| a.error).unwrap_or_default();
        assert_eq!(error.len(), MAX_ERROR);
        assert!(error.chars().all(|c| c == 'é'));
    }

    #[test]
    fn an_answer_survives_the_go_form_and_finds_its_topic() {
        let sent = GoMessage { task_id: answer().id, is_reply_message: true, ..GoMessage::default() };
        assert_eq!(Wishes::of_go(&sent), Wishes { receipt: Some(Place::Anywhere), errors: None });
        let sent = GoMessage { producer_sent_time: GoTime::from_unix_ms(1_000), ..sent };
        let told = answer();
        let go = told.to_go(&sent, "orders_Reply");
        assert!(!go.is_reply_message, "an answer asks for nothing");
        assert_eq!(Answer::of_go(&go), Answer { attempt: 0, ..answer() });
    }

    #[test]
    fn a_go_envelope_that_asks_for_something_is_told_by_its_end() {
        let text = |is_reply_message, is_send_error| {
            super::super::encode_go(&GoMessage { is_reply_message, is_send_error, ..GoMessage::default() })
        };
        assert!(!Wishes::may_be_in_go(text(false, false).as_bytes()));
        assert!(!Wishes::may_be_in_go(b"") && !Wishes::may_be_in_go(b"true"));
        for (reply, error) in [(true, false), (false, true), (true, true)] {
            assert!(Wishes::may_be_in_go(text(reply, error).as_bytes()));
        }
    }

    #[test]
    fn wishes_that_make_no_sense_are_none() {
        let wish = |value: &'static [u8]| Wishes::of_headers([(RECEIPT_TO.as_bytes(), Some(value))].into_iter());
        assert_eq!(wish(b"7").receipt, Some(Place::Partition(7)));
        for bad in [&b""[..], b"-1", b"x", b"99999999999"] {
            assert!(wish(bad).is_empty());
        }
    }
}
