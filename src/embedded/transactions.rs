//! The transaction coordinator (KIP-98): which producer owns a transactional id, what its open transaction has touched,
//! and how long it may stay open. A plain structure, called under the cluster's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::wire::ErrorCode;
use crate::wire::records::batches;

/// Kafka's `transaction.max.timeout.ms`.
const MAX_TIMEOUT: Duration = Duration::from_secs(900);

/// Producer ids, and one entry per transactional id.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    next_producer_id: i64,
    transactions: BTreeMap<String, Transaction>,
}

#[derive(Debug)]
struct Transaction {
    producer_id: i64,
    epoch: i16,
    /// The epoch that the producer named when it asked for this one, so that it can ask again; −1 if it named none.
    bumped_from: i16,
    timeout: Duration,
    /// Set while a transaction is open.
    since: Option<Instant>,
    partitions: BTreeSet<(String, i32)>,
    groups: BTreeSet<String>,
    /// How the last one ended, so that EndTxn can be sent again.
    last: Option<bool>,
}

/// A transaction that ends: what must be told of it.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) commit: bool,
    pub(super) partitions: BTreeSet<(String, i32)>,
}

impl Coordinator {
    /// A fresh producer id.
    pub(super) fn producer_id(&mut self) -> i64 {
        // A client may have written under any id.
        self.next_producer_id = self.next_producer_id.checked_add(1).unwrap_or(0);
        self.next_producer_id
    }

    /// The last one that was given out.
    pub(super) fn last_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Ids up to this one are in use already.
    pub(super) fn skip_producer_ids(&mut self, below: i64) {
        self.next_producer_id = self.next_producer_id.max(below);
    }

    /// InitProducerId of a transactional id: its producer, and the transaction that this aborts. `known`: what the client
    /// says that it has, to bump it (KIP-360).
    pub(super) fn init(
        &mut self,
        id: &str,
        timeout: Duration,
        known: Option<(i64, i16)>,
    ) -> Result<((i64, i16), Option<Ending>), ErrorCode> {
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
        }
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let fresh = self.producer_id();
        let transaction = self.transactions.entry(id.to_owned()).or_insert_with(|| Transaction {
            producer_id: fresh,
            epoch: -1,
            bumped_from: -1,
            timeout,
            since: None,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            last: None,
        });
        if let Some((id, epoch)) = known.filter(|_| transaction.epoch >= 0) {
            if transaction.producer_id == id && transaction.bumped_from == epoch && transaction.since.is_none() {
                return Ok(((id, transaction.epoch), None));
            }
            if (transaction.producer_id, transaction.epoch) != (id, epoch) {
                return Err(ErrorCode::PRODUCER_FENCED);
            }
        }
        // The old producer's transaction is aborted under the epoch that fences it.
        let ending = transaction.since.is_some().then(|| {
            transaction.epoch = transaction.epoch.saturating_add(1);
            transaction.end(false)
        });
        if transaction.epoch >= i16::MAX - 1 {
            (transaction.producer_id, transaction.epoch) = (fresh, -1);
        }
        transaction.epoch += 1;
        transaction.bumped_from = known.map_or(-1, |(_, epoch)| epoch);
        transaction.timeout = timeout;
        transaction.last = None;
        Ok(((transaction.producer_id, transaction.epoch), ending))
    }

    fn owned(&mut self, id: &str, (producer_id, epoch): (i64, i16)) -> Result<&mut Transaction, ErrorCode> {
        let transaction = self.transactions.get_mut(id).ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        if transaction.producer_id != producer_id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        if transaction.epoch != epoch {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        Ok(transaction)
    }

    /// The transaction will write to these partitions.
    pub(super) fn add_partitions(
        &mut self,
        now: Instant,
        id: &str,
        producer: (i64, i16),
        partitions: impl IntoIterator<Item = (String, i32)>,
    ) -> Result<(), ErrorCode> {
        let transaction = self.owned(id, producer)?;
        transaction.since.get_or_insert(now);
        transaction.partitions.extend(partitions);
        Ok(())
    }

    /// The transaction will commit offsets of this group.
    pub(super) fn add_group(
        &mut self,
        now: Instant,
        id: &str,
        producer: (i64, i16),
        group: &str,
    ) -> Result<(), ErrorCode> {
        let transaction = self.owned(id, producer)?;
        transaction.since.get_or_insert(now);
        transaction.groups.insert(group.to_owned());
        Ok(())
    }

    /// Whether this batch may be written: its producer owns the id and has named the partition (KIP-890).
    pub(super) fn check_write(&mut self, id: &str, batch: &Bytes, to: (&str, i32)) -> Result<(), ErrorCode> {
        let Some(Ok(raw)) = batches(batch.clone()).next() else { return Err(ErrorCode::CORRUPT_MESSAGE) };
        if !raw.is_transactional() {
            return Ok(());
        }
        let producer = (raw.header().producer_id, raw.header().producer_epoch);
        let transaction = self.owned(id, producer).map_err(|code| match code {
            ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
            code => code,
        })?;
        let named = transaction.partitions.iter().any(|(topic, partition)| (topic.as_str(), *partition) == to);
        if named { Ok(()) } else { Err(ErrorCode::INVALID_TXN_STATE) }
    }

    /// Whether offsets of this group may be committed in the transaction.
    pub(super) fn check_offsets(&mut self, id: &str, producer: (i64, i16), group: &str) -> Result<(), ErrorCode> {
        let transaction = self.owned(id, producer)?;
        if transaction.groups.contains(group) { Ok(()) } else { Err(ErrorCode::INVALID_TXN_STATE) }
    }

    /// EndTxn. `None`: it was ended the same way before, and this is a retry.
    pub(super) fn end(&mut self, id: &str, producer: (i64, i16), commit: bool) -> Result<Option<Ending>, ErrorCode> {
        let transaction = self.owned(id, producer)?;
        if transaction.since.is_none() {
            return match transaction.last {
                Some(last) if last == commit => Ok(None),
                _ => Err(ErrorCode::INVALID_TXN_STATE),
            };
        }
        Ok(Some(transaction.end(commit)))
    }

    /// When the next open transaction runs out of time.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.transactions.values().filter_map(|t| Some(t.since? + t.timeout)).min()
    }

    /// Aborts those that have; their producers are fenced.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Ending> {
        let late = self.transactions.values_mut().filter(|t| t.since.is_some_and(|since| since + t.timeout <= now));
        let end = |transaction: &mut Transaction| {
            transaction.epoch = transaction.epoch.saturating_add(1);
            transaction.end(false)
        };
        late.map(end).collect()
    }
}

impl Transaction {
    fn end(&mut self, commit: bool) -> Ending {
        self.since = None;
        self.last = Some(commit);
        self.groups.clear();
        let partitions = std::mem::take(&mut self.partitions);
        Ending { producer_id: self.producer_id, epoch: self.epoch, commit, partitions }
    }
}
