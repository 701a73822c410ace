//! What a scheduler hands out, and what it gets back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::client::types::AssignmentEpoch;
use crate::wire::records::{Cursor, RecordView};
use crate::worker::config::Order;
use crate::worker::keys::KeyHash;
use crate::worker::record::Origin;

/// One assignment of one partition: a place in the scheduler's table and the epoch that makes it unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartId {
    pub(super) slot: u32,
    pub(super) epoch: AssignmentEpoch,
}

/// Consecutive unparsed records of one block.
#[derive(Debug)]
pub(crate) struct Run<B> {
    pub(crate) part: PartId,
    pub(crate) origin: Arc<Origin<B>>,
    /// The tracker's number of the block.
    pub(crate) seq: u64,
    /// The first record's place in the tracker's block.
    pub(crate) index: u32,
    pub(crate) count: u32,
    /// Before the first record.
    pub(crate) at: Cursor,
}

/// One parsed record, under order by key.
#[derive(Debug)]
pub(crate) struct Item<B> {
    pub(crate) part: PartId,
    pub(crate) origin: Arc<Origin<B>>,
    pub(crate) seq: u64,
    pub(crate) index: u32,
    pub(crate) view: RecordView,
    /// `None` without a key: such records wait for nobody.
    pub(crate) key: Option<KeyHash>,
}

/// What a lane takes, or brings back unstarted.
#[derive(Debug)]
pub(crate) struct Work<B> {
    pub(crate) runs: VecDeque<Run<B>>,
    pub(crate) items: VecDeque<Item<B>>,
}

impl<B> Default for Work<B> {
    fn default() -> Self {
        Self { runs: VecDeque::new(), items: VecDeque::new() }
    }
}

impl<B> Work<B> {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.items.is_empty()
    }
}

/// What became of records that were started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) part: PartId,
    pub(crate) seq: u64,
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) key: Option<KeyHash>,
    pub(crate) end: End,
    /// [`End::Tended`] came before this.
    pub(crate) tended: bool,
    /// Behind them in their block, if that is known; else before its first record.
    pub(crate) after: Cursor,
}

/// How they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Handled, or failed and skipped.
    Finished,
    /// Failed and to be handled again by a later owner.
    Held,
    /// Failed, and the whole consumer is to stop.
    Stopped,
    /// To be handled again by a later owner, for there was no time for its next attempt.
    Abandoned,
    /// The handler has ended, and aftercare goes on: the record is unfinished, but what waited for it may start. Another
    /// `Done` follows.
    Tended,
    /// The bytes are no record: nothing more of this partition can be read, the consumer ends with an error.
    Unreadable,
}

/// How a scheduler behaves; fixed for its life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) order: Order,
    /// Lanes that share the work.
    pub(crate) lanes: u32,
    pub(crate) max_held: u32,
    /// Records that may be handed out in all.
    pub(crate) count: Option<u64>,
}
