//! What a partition knows of idempotent producers (KIP-98, KIP-360): epoch and last five batches of each, by which a
//! retried batch is recognised and a gap refused.

use std::collections::{BTreeMap, VecDeque};

use super::transactions::Transactions;
use crate::wire::ErrorCode;
use crate::wire::records::BatchHeader;

/// So many batches of a producer are remembered; a client may have as many in flight.
const REMEMBERED: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Producers(BTreeMap<i64, Producer>);

#[derive(Debug)]
struct Producer {
    epoch: i16,
    recent: VecDeque<Recent>,
    last_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Recent {
    first: i32,
    last: i32,
    base_offset: i64,
    /// Of its youngest record.
    timestamp: i64,
}

/// A producer as DescribeProducers shows it.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Active {
    pub(in crate::embedded) producer_id: i64,
    pub(in crate::embedded) epoch: i16,
    pub(in crate::embedded) last_sequence: i32,
    pub(in crate::embedded) last_ms: i64,
    /// −1: none.
    pub(in crate::embedded) open_from: i64,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Append,
    /// It is in the log already, at this offset.
    Duplicate {
        base_offset: i64,
        timestamp: i64,
    },
}

impl Producers {
    /// Judges a batch of an idempotent producer as `ProducerAppendInfo` does.
    pub(super) fn check(&self, header: &BatchHeader) -> Result<Verdict, ErrorCode> {
        let Some(known) = self.0.get(&header.producer_id) else { return Ok(Verdict::Append) };
        let (first, last) = sequences(header);
        if header.producer_epoch < known.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if header.producer_epoch > known.epoch {
            return if first == 0 { Ok(Verdict::Append) } else { Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) };
        }
        if let Some(same) = known.recent.iter().find(|r| (r.first, r.last) == (first, last)) {
            return Ok(Verdict::Duplicate { base_offset: same.base_offset, timestamp: same.timestamp });
        }
        match known.recent.back() {
            Some(previous) if after(previous.last) != first => Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
            _ => Ok(Verdict::Append),
        }
    }

    /// Takes note of a batch that is in the log now.
    pub(super) fn note(&mut self, header: &BatchHeader, now_ms: i64) {
        let fresh = || Producer { epoch: header.producer_epoch, recent: VecDeque::new(), last_ms: now_ms };
        let producer = self.0.entry(header.producer_id).or_insert_with(fresh);
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.recent.clear();
        }
        producer.last_ms = now_ms;
        if header.is_control() {
            return;
        }
        if producer.recent.len() == REMEMBERED {
            producer.recent.pop_front();
        }
        let (first, last) = sequences(header);
        let (base_offset, timestamp) = (header.base_offset, header.max_timestamp);
        producer.recent.push_back(Recent { first, last, base_offset, timestamp });
    }

    /// Batches from `end` on are lost.
    pub(super) fn truncate(&mut self, end: i64) {
        self.0.retain(|_, producer| {
            let some = !producer.recent.is_empty();
            producer.recent.retain(|r| r.base_offset < end);
            // One that has only lost batches is unknown again.
            !(some && producer.recent.is_empty())
        });
    }

    /// The producer's last epoch.
    pub(super) fn epoch(&self, producer_id: i64) -> Option<i16> {
        self.0.get(&producer_id).map(|producer| producer.epoch)
    }

    /// Forgets producers that have written nothing since `ms` (Kafka's `producer.id.expiration.ms`).
    pub(super) fn forget_before(&mut self, ms: i64) {
        self.0.retain(|_, producer| producer.last_ms >= ms);
    }

    pub(super) fn active<'a>(&'a self, transactions: &'a Transactions) -> impl Iterator<Item = Active> + 'a {
        self.0.iter().map(|(&producer_id, producer)| Active {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.recent.back().map_or(-1, |r| r.last),
            last_ms: producer.last_ms,
            open_from: transactions.open_from(producer_id).unwrap_or(-1),
        })
    }
}

/// First and last sequence number of a batch; they go on with 0 behind `i32::MAX`.
fn sequences(header: &BatchHeader) -> (i32, i32) {
    let last = (i64::from(header.base_sequence) + i64::from(header.last_offset_delta)) % (i64::from(i32::MAX) + 1);
    (header.base_sequence, last as i32)
}

fn after(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}
