//! How batches end: who is told what, and the memory goes back.

use std::sync::Arc;

use super::PartitionQueue;
use crate::client::producer::delivery::{Completion, Fate};
use crate::client::producer::parcel::{OpenBatch, Parcel};
use crate::env::lock;
use crate::error::{Error, ErrorKind};

/// Batches to be reported when the lock is gone.
#[derive(Default)]
pub(super) struct Dead {
    pub(super) open: Vec<OpenBatch>,
    pub(super) parcels: Vec<(Parcel, bool)>,
    pub(super) why: Option<Error>,
}

impl PartitionQueue {
    pub(super) fn bury(&self, dead: Dead) {
        let Dead { open, parcels, why } = dead;
        for (parcel, maybe_written) in parcels {
            let cause = why.clone().or_else(|| parcel.last_error.clone());
            self.finish(parcel, Fate::Failed(self.end(maybe_written, cause)));
        }
        for open in open {
            let cause = why.clone().or_else(|| lock(&self.state).last_error.clone());
            let (count, error) = (open.builder.count(), self.end(false, cause));
            self.meter.failed(&self.tp.topic, self.tp.partition, count, false, &error);
            open.completion.settle(0, count, count, Fate::Failed(error));
            self.release(&open.completion, open.reserved);
        }
    }

    /// Tells who waits for a batch under way that its fate is unknown; its memory is given back when it has come to its end.
    pub(super) fn report(&self, parcel: &mut Parcel) {
        if parcel.reported {
            return;
        }
        let error = self.end(true, parcel.last_error.clone());
        self.meter.failed(&self.tp.topic, self.tp.partition, parcel.count(), true, &error);
        parcel.report(Fate::Failed(error));
        self.release(parcel.completion(), 0);
    }

    pub(super) fn finish(&self, parcel: Parcel, fate: Fate) {
        let (completion, reserved) = (parcel.completion().clone(), parcel.reserved);
        if let Fate::Failed(error) = &fate
            && !parcel.reported
        {
            self.meter.failed(&self.tp.topic, self.tp.partition, parcel.count(), true, error);
        }
        if let Some(buffer) = parcel.finish(fate) {
            self.shared.keep(buffer);
        }
        self.release(&completion, reserved);
    }

    pub(super) fn release(&self, completion: &Arc<Completion>, reserved: usize) {
        if completion.is_settled() {
            lock(&self.state).unsettled.retain(|c| !Arc::ptr_eq(c, completion));
        }
        self.shared.budget.give_back(reserved);
    }

    /// The error of a batch that the broker refused for good.
    pub(super) fn refusal(&self, parcel: &Parcel, maybe_written: bool) -> Error {
        let cause = parcel.last_error.clone();
        match cause {
            Some(error) if error.kind() == ErrorKind::MessageTooLarge && !maybe_written => error.wrap(
                ErrorKind::MessageTooLarge,
                format!(
                    "{}: the message is larger than the topic allows: raise the topic's max.message.bytes",
                    self.tp
                ),
            ),
            cause => self.end(maybe_written, cause),
        }
    }

    fn end(&self, maybe_written: bool, cause: Option<Error>) -> Error {
        let (kind, what) = if maybe_written {
            (ErrorKind::MaybeWritten, "the message was sent, but whether it was written is unknown")
        } else {
            (ErrorKind::NotWritten, "the message was not written")
        };
        let limit = self.shared.config.delivery_timeout;
        match cause {
            Some(cause) => cause.wrap(kind, format!("{}: {what}", self.tp)),
            None => Error::new(kind, format!("{}: {what} within delivery_timeout ({limit:?})", self.tp)).may_pass(),
        }
    }
}
