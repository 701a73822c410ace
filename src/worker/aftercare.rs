//! What is done for a record when its handler has ended for good and before it may be committed: receipts, records of
//! errors. The dispatcher's room gives it to the worker; a lane asks whether it concerns a record and tends those that it
//! does. A record that it does not concern must cost nothing here.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::forward::Forward;
use super::record::Record;
use crate::client::fetch::FetchedBatch;
use crate::client::producer::Delivery;
use crate::telemetry::meter::ConsumerMeter;
use crate::{Error, ErrorKind, Result};

/// How a record's handling ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// When the handler was called first, in ms since 1970; a retry in place does not change it.
    pub(crate) begun_ms: i64,
    /// When it had ended for good, in ms since 1970.
    pub(crate) ended_ms: i64,
    /// Why the last attempt failed, as the error stream has it: a panic, a time-out and a payload that does not fit are
    /// failures as others are. How many attempts there were, the record says.
    pub(crate) outcome: Result<(), Error>,
    /// It failed and lies in a retry topic now: the outcome is not final.
    pub(crate) again: bool,
}

/// What could be done at once.
#[derive(Debug)]
pub(crate) enum Begun {
    /// There is nothing to be done.
    Nothing,
    /// All was written, in one record: the record that it is about counts as finished when that is acknowledged.
    Written(Delivery),
    /// Nothing, for it takes waiting.
    Not,
}

/// See the file's head.
pub(crate) trait Aftercare<B>: fmt::Debug + Send + Sync + 'static {
    /// Whether [`after`](Self::after) is wanted for this record. Asked before its handler is called, for every record, on
    /// the lane's own thread: must be cheap and must not panic.
    fn concerns(&self, record: &Record<B>) -> bool;

    /// Runs when the handler has ended and no attempt in place follows. The record counts as finished (or held, or stops
    /// the subscription) when the future has ended; its key and its partition go on meanwhile. It must limit its own time. Once
    /// its partition is taken away or the subscription stops it has two seconds more, at most half of what the drain waits;
    /// then it is dropped and its record counts as finished: what it is to write must be on its way by then. It is dropped
    /// with the lane too, and then the record comes again. An error is reported and changes nothing else.
    fn after(&self, record: Record<B>, ending: Ending) -> BoxFuture<'static, Result<()>>;

    /// What [`after`](Self::after) would do, as far as that needs no waiting. Called first, on the lane's own thread: cheaper
    /// than a future per record.
    fn begin(&self, _record: &Record<B>, _ending: &Ending) -> Begun {
        Begun::Not
    }

    /// Waits until the batch of what [`begin`](Self::begin) wrote has settled, whatever became of it; called for one record of
    /// each batch. As with `after` it must limit its own time, and is dropped where that would be.
    ///
    /// # Errors
    /// It took too long.
    fn settled(&self, delivery: &Delivery) -> BoxFuture<'static, Result<()>> {
        let batch = delivery.batch().clone();
        Box::pin(async move {
            batch.settled().await;
            Ok(())
        })
    }

    /// What follows when what `begin` wrote was not acknowledged.
    fn failed(&self, _record: Record<B>, _ending: Ending, error: Error) -> BoxFuture<'static, Result<()>> {
        Box::pin(std::future::ready(Err(error)))
    }
}

/// Aftercare had to end before it was done.
pub(super) fn cut_off<B: super::record::Block>(record: &Record<B>) -> Error {
    let (tp, offset) = (record.topic_partition(), record.offset());
    let text = format!("receipts or error records of {tp} offset {offset} were not acknowledged");
    let text = format!("{text} when its partition was taken away or the subscription stopped");
    Error::new(ErrorKind::Timeout, format!("{text}: they may still come, or be lost with this process"))
}

/// What the room above does for a consumer's records.
#[derive(Debug, Default)]
pub(crate) struct Seams {
    pub(crate) aftercare: Option<Arc<dyn Aftercare<FetchedBatch>>>,
    pub(crate) meter: Arc<ConsumerMeter>,
    /// Needed where a policy has retry topics or dead letters.
    pub(crate) forward: Option<Arc<dyn Forward<FetchedBatch>>>,
}
