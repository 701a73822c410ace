//! Which transactions are open in a partition, and which were aborted: what read_committed consumers must be told.

use std::collections::BTreeMap;

use crate::wire::records::BatchHeader;

#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Producer id and first offset.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

/// An aborted transaction: its records lie in `first_offset..=last_offset`, the last being the marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::embedded) struct Aborted {
    pub(in crate::embedded) producer_id: i64,
    pub(in crate::embedded) first_offset: i64,
    last_offset: i64,
}

impl Transactions {
    /// A data batch of a transaction is in the log.
    pub(super) fn wrote(&mut self, header: &BatchHeader) {
        self.open.entry(header.producer_id).or_insert(header.base_offset);
    }

    /// A marker is in the log at `offset`.
    pub(super) fn ended(&mut self, producer_id: i64, offset: i64, commit: bool) {
        let Some(first_offset) = self.open.remove(&producer_id) else { return };
        if !commit {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset: offset });
        }
    }

    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    pub(super) fn open_from(&self, producer_id: i64) -> Option<i64> {
        self.open.get(&producer_id).copied()
    }

    /// Those with records in `from..to`.
    pub(super) fn aborted_in(&self, from: i64, to: i64) -> impl Iterator<Item = &Aborted> {
        self.aborted.iter().filter(move |a| a.last_offset >= from && a.first_offset < to)
    }

    /// The log begins at `start` now.
    pub(super) fn shrink(&mut self, start: i64) {
        self.aborted.retain(|a| a.last_offset >= start);
    }
}
