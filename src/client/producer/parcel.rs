//! One closed batch with all that belongs to it: its bytes, who waits for it, until when it may be tried, and the
//! buffer memory it holds.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::delivery::{Completion, Fate};
use crate::error::Error;
#[cfg(feature = "rskafka")]
use crate::wire::records::Batch;
use crate::wire::records::{BatchBody, BatchBuilder, Cursor, Limits, Packing, ProducerStamp, RecordsError};

/// A batch that still takes records, or that is full but was never sent.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) builder: BatchBuilder,
    pub(super) completion: Arc<Completion>,
    /// When it is sent at the latest, full or not.
    pub(super) due: Instant,
    pub(super) deadline: Instant,
    /// Bytes taken from the budget.
    pub(super) reserved: usize,
}

/// A batch that was sealed to be sent, perhaps more than once.
#[derive(Debug)]
pub(crate) struct Parcel {
    body: BatchBody,
    header: Bytes,
    completion: Arc<Completion>,
    /// Index of the first record in the batch it was cut from.
    first: u32,
    /// Records of the batch it was cut from.
    of: u32,
    pub(super) deadline: Instant,
    pub(super) reserved: usize,
    pub(super) last_error: Option<Error>,
    /// Whoever waits for its records has been told that their fate is unknown.
    pub(super) reported: bool,
}

impl Parcel {
    /// Compresses and stamps a batch. The caller holds no lock.
    pub(super) fn seal(open: OpenBatch, packing: Packing, stamp: ProducerStamp) -> Result<Self, RecordsError> {
        let OpenBatch { builder, completion, deadline, reserved, .. } = open;
        let of = builder.count();
        let body = builder.finish(packing)?;
        let header = Bytes::copy_from_slice(&body.stamp(stamp));
        Ok(Self { body, header, completion, first: 0, of, deadline, reserved, last_error: None, reported: false })
    }

    /// Gives it another number.
    pub(super) fn restamp(&mut self, stamp: ProducerStamp) {
        self.header = Bytes::copy_from_slice(&self.body.stamp(stamp));
    }

    /// Header and records, to be written one behind the other.
    pub(crate) fn chunks(&self) -> Vec<Bytes> {
        vec![self.header.clone(), self.body.body().clone()]
    }

    /// Its records, to be written in another way.
    #[cfg(feature = "rskafka")]
    pub(crate) fn open(&self) -> Result<Batch, RecordsError> {
        self.body.reopen(&Limits::of(usize::MAX))
    }

    /// Bytes on the wire.
    pub(crate) fn size(&self) -> usize {
        self.body.size()
    }

    pub(crate) fn count(&self) -> u32 {
        self.body.count()
    }

    pub(super) fn completion(&self) -> &Arc<Completion> {
        &self.completion
    }

    /// Tells everybody what became of its records, once.
    pub(super) fn report(&mut self, fate: Fate) {
        if !std::mem::replace(&mut self.reported, true) {
            self.completion.settle(self.first, self.body.count(), self.of, fate);
        }
    }

    /// The same, and gives back the memory if nobody else has it.
    pub(super) fn finish(mut self, fate: Fate) -> Option<BytesMut> {
        self.report(fate);
        self.body.into_body().try_into_mut().ok()
    }

    /// Cuts it in two with half of the records each.
    pub(super) fn split(&self, packing: Packing) -> Result<[Self; 2], RecordsError> {
        // We made these bytes ourselves, so no cap is needed against a bomb.
        let batch = self.body.reopen(&Limits::of(usize::MAX))?;
        let half = self.count() / 2;
        let mut at = Cursor::default();
        let mut piece = |first: u32, count: u32, reserved: usize| -> Result<Self, RecordsError> {
            let mut builder = BatchBuilder::new(usize::MAX, BytesMut::new());
            for _ in 0..count {
                let Some(view) = batch.next(&mut at)? else { break };
                let headers: Vec<_> = batch
                    .headers(&view)
                    .map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
                    .collect();
                let key = view.key.clone().map(|range| batch.bytes_of(range));
                let value = view.value.clone().map(|range| batch.bytes_of(range));
                let _never_full = builder.try_append(view.timestamp, key, value, &headers);
            }
            let body = builder.finish(packing)?;
            let (completion, last_error) = (self.completion.clone(), self.last_error.clone());
            let first = self.first + first;
            Ok(Self {
                body,
                header: Bytes::new(),
                completion,
                first,
                of: self.of,
                deadline: self.deadline,
                reserved,
                last_error,
                reported: self.reported,
            })
        };
        let reserved = self.reserved / 2;
        Ok([piece(0, half, reserved)?, piece(half, self.count() - half, self.reserved - reserved)?])
    }
}
