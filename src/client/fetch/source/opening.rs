//! Opening: an answer's batches are checked, decompressed and delivered.

use std::sync::Arc;

use super::{Arrived, Source};
use crate::client::fetch::delivery::{Fetched, FetchedBatch, Memory, OnBadBatch, Pin};
use crate::client::fetch::parse::{self, BadBatch};
use crate::client::fetch::table::{Work, report_bad};
use crate::wire::records::RawBatch;

/// A partition that keeps frames of more than this part of the budget in memory gets copies from then on.
const MAX_PINNED: i64 = 8;
/// Work between two turns for others, in bytes opened. For less, waking a thread would cost more.
const YIELD_AFTER: i64 = 64 << 10;
/// What a block costs beside its bytes.
const BLOCK_COST: i64 = 4 << 10;
/// Compressed records are taken to become so many times as long.
const EXPANSION: i64 = 4;

impl Source {
    /// Checks, decompresses and delivers.
    pub(super) async fn open(&mut self, arrived: Arrived) {
        let Arrived { work, charge, .. } = arrived;
        let Some(charge) = charge else { return };
        self.opened = 0;
        let mut since_turn = 0;
        for mut work in work {
            let before = self.opened;
            let raw = std::mem::take(&mut work.scan.kept);
            let mut batches = Vec::with_capacity(raw.len());
            let mut bad = work.scan.bad.take();
            // A reader that lags must not keep whole frames in memory for the sake of its few batches in each, nor many
            // readers together that have little of a frame each.
            let budget = &self.common.budget;
            let is_little = || raw.iter().map(|raw| raw.bytes().len() as i64).sum::<i64>() < charge.bytes() / 2;
            let lags = work.link.is_sparing()
                || work.link.pinned() > budget.capacity() / MAX_PINNED
                || (budget.unheld() < budget.capacity() / 2 && is_little());
            let pin = (!lags && !raw.is_empty()).then(|| work.link.pin(charge.clone()));
            for raw in raw {
                if is_compressed(&raw) && !batches.is_empty() && !self.common.budget.has_room(&self.inflated) {
                    // What is opened takes the room that the next one waits for: only its reader can make room.
                    self.deliver_opened(&work, std::mem::take(&mut batches));
                }
                match self.open_one(raw, &work, pin.as_ref()).await {
                    Ok(batch) => {
                        self.opened += batch.as_ref().map_or(0, |batch| batch.batch.data().len() as i64);
                        batches.extend(batch);
                    }
                    Err(skipped) if work.link.options().on_bad_batch == OnBadBatch::Skip => {
                        work.scan.skipped.push(skipped)
                    }
                    Err(first) => {
                        work.scan.next_offset = first.offset;
                        self.table.remove(work.link.id());
                        bad = Some(first);
                        break;
                    }
                }
            }
            self.deliver(work, batches, bad);
            since_turn += self.opened - before + BLOCK_COST;
            if since_turn >= YIELD_AFTER {
                // The workers may share this thread.
                tokio::task::yield_now().await;
                since_turn = 0;
            }
        }
    }

    async fn open_one(
        &self,
        raw: RawBatch,
        work: &Work,
        frame: Option<&Arc<Pin>>,
    ) -> Result<Option<Arc<FetchedBatch>>, BadBatch> {
        let compressed = is_compressed(&raw);
        if compressed {
            self.common.budget.room(&self.inflated).await;
        }
        let frame = frame.filter(|_| !compressed);
        let raw = if frame.is_some() || compressed { raw } else { raw.to_owned_memory() };
        let Some(opened) = parse::open(raw, work.from, &self.common.limits)? else { return Ok(None) };
        let bytes = opened.batch.data().len();
        let memory = match frame {
            Some(frame) => Memory::Frame(frame.clone()),
            None => Memory::Own(self.common.budget.charge(bytes as i64, self.inflated.clone())),
        };
        Ok(Some(Arc::new(FetchedBatch {
            tp: work.link.tp().clone(),
            epoch: work.link.epoch(),
            batch: opened.batch,
            start: opened.start,
            count: opened.count,
            lease: work.link.lease(bytes, memory, self.table.lead()),
        })))
    }

    /// The first batches of a block whose rest is not opened yet.
    fn deliver_opened(&self, work: &Work, batches: Vec<Arc<FetchedBatch>>) {
        let Some(last) = batches.last().map(|b| *b.batch.header()) else { return };
        let Work { link, high_watermark, last_stable, .. } = work;
        link.deliver(Fetched {
            tp: link.tp().clone(),
            epoch: link.epoch(),
            batches,
            next_offset: last.next_offset(),
            high_watermark: *high_watermark,
            last_stable: *last_stable,
        });
    }

    fn deliver(&self, work: Work, batches: Vec<Arc<FetchedBatch>>, bad: Option<BadBatch>) {
        let Work { link, scan, high_watermark, last_stable, hold, .. } = work;
        for skipped in scan.skipped {
            skipped.tell_skipped(&link);
        }
        link.deliver(Fetched {
            tp: link.tp().clone(),
            epoch: link.epoch(),
            batches,
            next_offset: scan.next_offset,
            high_watermark,
            last_stable,
        });
        if let Some(bad) = bad {
            report_bad(&link, &bad);
        }
        drop(hold);
    }
}

/// Whether there is something to open, and so little that [`open`](Source::open) gives no turns to others meanwhile.
pub(super) fn is_little(work: &[Work]) -> bool {
    let cost = |raw: &RawBatch| raw.bytes().len() as i64 * if is_compressed(raw) { EXPANSION } else { 1 };
    let costs = work.iter().map(|work| BLOCK_COST + work.scan.kept.iter().map(cost).sum::<i64>());
    !work.is_empty() && costs.sum::<i64>() < YIELD_AFTER
}

fn is_compressed(batch: &RawBatch) -> bool {
    batch.header().attributes & 7 != 0
}
