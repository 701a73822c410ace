//! Receipts as a sender sees them: asked for with a message, awaited, each from one group. Whatever is slow, a wait ends when
//! its time is over, and then says what is known of the message.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use super::desk::Expected;
use super::time::Time;
use crate::dispatcher::send::{Delivery, SendMessage, SendReport};
use crate::envelope::Answer;
use crate::error::{Error, ErrorKind, Result};

/// What a group's handler made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was handled.
    Ok,
    /// The handler failed for good, with this error.
    Failed(String),
    /// It was received by a consumer of the Go dispatcher, which answers before its callback runs.
    Received,
}

/// That a group is done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Without its error, which is the outcome's.
    answer: Answer<'static>,
    outcome: Outcome,
    receipt_ms: i64,
}

impl Receipt {
    pub(super) fn new(answer: &Answer<'_>, receipt_ms: i64) -> Self {
        let mut answer = answer.to_owned();
        let outcome = match answer.error.take() {
            Some(error) => Outcome::Failed(error.into_owned()),
            None if answer.handled_ms < 0 => Outcome::Received,
            None => Outcome::Ok,
        };
        Self { answer, outcome, receipt_ms }
    }

    /// The message's id.
    pub fn id(&self) -> &str {
        &self.answer.id
    }

    /// The topic the message was read from.
    pub fn topic(&self) -> &str {
        &self.answer.topic
    }

    /// The partition it was read from.
    pub fn partition(&self) -> i32 {
        self.answer.partition
    }

    /// Its place there.
    pub fn offset(&self) -> i64 {
        self.answer.offset
    }

    /// The group under Kafka's name for it, `<group>:<topic>` unless it was named exactly.
    pub fn group(&self) -> &str {
        &self.answer.group
    }

    /// How it went.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// When the message was sent: ms since 1970, on the sender's clock.
    pub fn sent_ms(&self) -> i64 {
        self.answer.sent_ms
    }

    /// When its handler was first called (Go: when it was received): ms since 1970, on the consumer's clock.
    pub fn received_ms(&self) -> i64 {
        self.answer.received_ms
    }

    /// When the handler had ended: ms since 1970, on the consumer's clock. `None` with [`Outcome::Received`].
    pub fn handled_ms(&self) -> Option<i64> {
        Some(self.answer.handled_ms).filter(|ms| *ms >= 0)
    }

    /// When this receipt arrived: ms since 1970, on the sender's clock.
    pub fn receipt_ms(&self) -> i64 {
        self.receipt_ms
    }
}

/// A message that is to be answered by one group; await it, or [`enqueue`](Self::enqueue) it.
///
/// Awaited, it is sent and resolves to the first group's [`Receipt`].
///
/// # Errors
/// Those of a send, as soon as they are known; and when the time is over, whatever it was spent with, what is known then:
///
/// - [`ErrorKind::NotWritten`]: the message had no place in the order yet, for its topic or that of its receipts was still
///   looked for or made, or the buffer was full. It was not and will not be sent.
/// - [`ErrorKind::MaybeWritten`]: it has its place and is not acknowledged. It may be in the log, or still come there, as
///   with any send that ends so.
/// - [`ErrorKind::Timeout`]: it is in the log, and the text says where, and which receipts came.
///
/// Dropped before it ends, the message may or may not be sent.
#[derive(Debug)]
#[must_use = "a message is sent when it is awaited or enqueued"]
pub struct SendForReceipt<'a>(SendForReceipts<'a>);

/// A message that is to be answered by several groups; await it, or [`enqueue`](Self::enqueue) it.
///
/// Awaited, it is sent and resolves to a [`Receipt`] of each of so many groups, in the order of their coming.
///
/// # Errors
/// As with [`SendForReceipt`]; [`ErrorKind::InvalidArgument`] for receipts of no group, and nothing is sent then: a message
/// that nobody is to answer is awaited itself.
#[derive(Debug)]
#[must_use = "a message is sent when it is awaited or enqueued"]
pub struct SendForReceipts<'a> {
    message: SendMessage<'a>,
    groups: usize,
    timeout: Duration,
}

impl<'a> SendForReceipt<'a> {
    pub(in crate::dispatcher) fn new(message: SendMessage<'a>, timeout: Duration) -> Self {
        Self(SendForReceipts::new(message, 1, timeout))
    }

    /// Gives the message its place in the order and returns, as [`SendMessage::enqueue`] does: for many that are to be
    /// waited for at once. The time-out runs from now on, and limits this call too.
    ///
    /// # Errors
    /// As with [`SendMessage::enqueue`]: in each case nothing was sent. [`ErrorKind::NotWritten`] too when the time is over.
    pub async fn enqueue(self) -> Result<PendingReceipts> {
        self.0.enqueue().await
    }
}

impl<'a> SendForReceipts<'a> {
    pub(in crate::dispatcher) fn new(message: SendMessage<'a>, groups: usize, timeout: Duration) -> Self {
        Self { message, groups, timeout }
    }

    /// As [`SendForReceipt::enqueue`].
    ///
    /// # Errors
    /// As with [`SendMessage::enqueue`]; [`ErrorKind::InvalidArgument`] for receipts of no group.
    pub async fn enqueue(self) -> Result<PendingReceipts> {
        if self.groups == 0 {
            let text = "receipts of no group were asked for: use 1 or more, or send the message without";
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        let time = Time::begin(self.message.dispatcher().env(), self.timeout);
        let (delivery, expected) = self.message.enqueue_for_receipts(&time).await?;
        Ok(PendingReceipts { delivery, acknowledged: None, expected, came: Vec::new(), groups: self.groups, time })
    }
}

impl<'a> IntoFuture for SendForReceipt<'a> {
    type Output = Result<Receipt>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let first = self.enqueue().await?.receipts().await?.into_iter().next();
            first.ok_or_else(|| Error::new(ErrorKind::Closed, "its receipt was not kept: send it again"))
        })
    }
}

impl<'a> IntoFuture for SendForReceipts<'a> {
    type Output = Result<Vec<Receipt>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.enqueue().await?.receipts().await })
    }
}

/// A message on its way, and the receipts that are to come back for it. Dropping it forgets the receipts; the message is
/// not unsent.
#[derive(Debug)]
#[must_use = "the receipts are only to be had from this"]
pub struct PendingReceipts {
    delivery: Delivery,
    acknowledged: Option<Result<SendReport>>,
    expected: Expected,
    came: Vec<Receipt>,
    groups: usize,
    time: Time,
}

impl PendingReceipts {
    /// The message's id.
    pub fn id(&self) -> &str {
        self.delivery.id().unwrap_or_default()
    }

    /// Waits until all in-sync replicas have the message, or it has failed, whatever is left of the receipts' time; again,
    /// it tells the same. Cancel-safe.
    ///
    /// # Errors
    /// As with [`Delivery`].
    pub async fn acknowledged(&mut self) -> Result<SendReport> {
        match &self.acknowledged {
            Some(known) => known.clone(),
            None => self.acknowledged.insert((&mut self.delivery).await).clone(),
        }
    }

    /// Waits for the receipts.
    ///
    /// # Errors
    /// As with [`SendForReceipt`]. Dropped before it ends, the receipts are forgotten.
    pub async fn receipts(mut self) -> Result<Vec<Receipt>> {
        // Of what was never written no receipt comes.
        if let Some(Err(error)) = &self.acknowledged
            && error.kind() != ErrorKind::MaybeWritten
        {
            return Err(error.clone());
        }
        while self.came.len() < self.groups {
            tokio::select! { biased;
                receipt = self.expected.receipts.recv() => match receipt {
                    // A redelivered message is answered again.
                    Some(again) if self.came.iter().any(|came| came.group() == again.group()) => {}
                    Some(receipt) => self.came.push(receipt),
                    None => return Err(self.closed()),
                },
                report = &mut self.delivery, if self.acknowledged.is_none() => {
                    // What may have been written may be answered.
                    if let Err(error) = &report && error.kind() != ErrorKind::MaybeWritten {
                        return Err(error.clone());
                    }
                    self.acknowledged = Some(report);
                }
                () = self.time.is_over() => return Err(self.late()),
            }
        }
        Ok(self.came)
    }

    fn closed(&self) -> Error {
        let text = format!("no receipt can come for message {} any more: its dispatcher is gone, keep it", self.id());
        Error::new(ErrorKind::Closed, text)
    }

    /// What is known.
    fn late(&self) -> Error {
        let (id, length) = (self.id(), self.time.length());
        let came: Vec<_> = self.came.iter().map(Receipt::group).collect();
        let receipts = match self.groups {
            1 => format!("no receipt for message {id} came within {length:?}"),
            n => {
                format!("{} of {n} receipts for message {id} came within {length:?} ({})", came.len(), came.join(", "))
            }
        };
        let late = |kind, known: &str| {
            Error::new(kind, format!("{receipts}: {known}; check that a consumer runs, or wait longer"))
        };
        let within = |topic: &str, partition: i32, offset: Option<i64>| {
            let place = offset.map_or(String::new(), |offset| format!(" at offset {offset}"));
            let known = format!("it is in {topic}-{partition}{place}, and no further group has finished it");
            late(ErrorKind::Timeout, &known)
        };
        match (&self.acknowledged, self.came.first()) {
            (Some(Ok(report)), _) => within(report.topic(), report.partition(), report.offset()),
            (_, Some(r)) => within(r.topic(), r.partition(), Some(r.offset())),
            (None, None) => {
                let known = "it is not acknowledged yet, and may or may not be written";
                late(ErrorKind::MaybeWritten, known)
            }
            (Some(Err(e)), None) => {
                late(ErrorKind::MaybeWritten, "it may or may not be written").with_source(e.clone())
            }
        }
    }
}
