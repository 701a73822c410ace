//! What the fetcher hands over, and the one-way street it goes through: per attached partition a queue ([`Link`]), per
//! subscription a list of the links that have something ([`FetchOut`] to [`FetchIn`]). Bytes are bounded by the fetch
//! budget, entries by the number of partitions. Nothing of a dropped or paused attachment comes out any more.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::budget::Charge;
use super::fetcher::Command;
use super::lead::Lead;
use crate::client::types::{AssignmentEpoch, Isolation, TopicPartition};
use crate::env::lock;
use crate::error::Error;
use crate::wire::records::{Batch, Cursor};

/// What to do with a record batch that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnBadBatch {
    /// The subscription ends with an error of kind [`CorruptBatch`](crate::ErrorKind::CorruptBatch) that names topic,
    /// partition and offset; what was read before is handled first. The default.
    #[default]
    Stop,
    /// The batch is passed over, with a warning, and its records are lost to this reader.
    Skip,
}

/// How one subscription reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct ReadOptions {
    pub(crate) isolation: Isolation,
    pub(crate) on_bad_batch: OnBadBatch,
}

#[allow(dead_code, reason = "the lease is held until it drops; readers tell assignments apart by the epoch")]
/// One record batch in memory. Its bytes count against the budget until it drops.
pub(crate) struct FetchedBatch {
    pub(crate) tp: Arc<TopicPartition>,
    pub(crate) epoch: AssignmentEpoch,
    pub(crate) batch: Batch,
    /// Before the first record at or behind the offset that was asked for.
    pub(crate) start: Cursor,
    /// Records from `start` on; never 0.
    pub(crate) count: u32,
    pub(crate) lease: Lease,
}

impl fmt::Debug for FetchedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FetchedBatch({} at {}, {} records)", self.tp, self.batch.header().base_offset, self.count)
    }
}

/// Progress of one partition: data, or only offsets that moved over what is not data.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) tp: Arc<TopicPartition>,
    pub(crate) epoch: AssignmentEpoch,
    /// Only data; control batches, aborted transactions and empty batches are gone. May be empty.
    pub(crate) batches: Vec<Arc<FetchedBatch>>,
    /// Where the reader stands behind this block: everything below is in it, or was never data.
    pub(crate) next_offset: i64,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable: i64,
}

/// What went wrong with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchFault {
    /// A batch cannot be read. The partition has stopped before this offset.
    BadBatch { offset: i64 },
    /// The topic was deleted and created again: the positions of this assignment mean nothing. The partition has stopped.
    Recreated,
    /// Worth telling the user, such as an offset that was out of range, or a refusal. The partition goes on by itself.
    Notice,
}

/// An event of a partition that is not data.
#[derive(Clone, Debug)]
pub(crate) struct FetchError {
    pub(crate) tp: Arc<TopicPartition>,
    pub(crate) epoch: AssignmentEpoch,
    pub(crate) fault: FetchFault,
    pub(crate) error: Error,
}

/// What [`FetchIn::recv`] returns.
#[derive(Clone, Debug)]
pub(crate) enum FetchEvent {
    Fetched(Fetched),
    Error(FetchError),
}

/// Opens the way from the fetcher to one subscription.
pub(crate) fn channel(options: ReadOptions) -> (FetchOut, FetchIn) {
    let (ready, links) = mpsc::unbounded_channel();
    (FetchOut { ready, options, sparing: false }, FetchIn { links })
}

/// The fetcher's end. Clone it for every partition attached.
#[derive(Clone, Debug)]
pub(crate) struct FetchOut {
    ready: mpsc::UnboundedSender<Arc<Link>>,
    options: ReadOptions,
    /// What is read may wait in memory for long: little at a time, which keeps no more than itself there.
    sparing: bool,
}

impl FetchOut {
    /// For partitions whose records may wait for long.
    pub(crate) fn sparing(&self) -> Self {
        Self { sparing: true, ..self.clone() }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ready.is_closed()
    }
}

/// The subscription's end. Dropping it detaches every partition.
#[derive(Debug)]
pub(crate) struct FetchIn {
    links: mpsc::UnboundedReceiver<Arc<Link>>,
}

impl FetchIn {
    /// The next event, partitions taking turns; `None` when no partition is attached and no [`FetchOut`] is left.
    /// Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Option<FetchEvent> {
        loop {
            if let Some(event) = self.links.recv().await?.take() {
                return Some(event);
            }
        }
    }

    /// The next event if there is one.
    #[cfg(test)]
    pub(crate) fn try_recv(&mut self) -> Option<FetchEvent> {
        loop {
            if let Some(event) = self.links.try_recv().ok()?.take() {
                return Some(event);
            }
        }
    }
}

/// Most notices one partition keeps for a reader that does not read.
const MAX_NOTICES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Running,
    Paused,
    Detached,
}

/// One attachment of a partition: what its reader, its guard and the source that fetches it share.
pub(crate) struct Link {
    id: u64,
    tp: Arc<TopicPartition>,
    epoch: AssignmentEpoch,
    out: FetchOut,
    owner: mpsc::WeakUnboundedSender<Command>,
    queue: Mutex<Queue>,
    /// Bytes of this partition in memory, delivered or not.
    held: AtomicI64,
    /// Those of them that its reader has not come to yet, or has not dropped where it does not say so.
    unread: AtomicI64,
    /// Bytes of the frames that this partition's batches keep in memory, other partitions' parts included.
    pinned: AtomicI64,
    /// The source waits for `held` to fall to this; −1: it does not wait.
    resume_at: AtomicI64,
    /// The source waits for nothing to be unread.
    watched: AtomicBool,
    /// A nudge is on its way to the owner.
    nudged: AtomicBool,
}

struct Queue {
    state: LinkState,
    events: VecDeque<FetchEvent>,
    /// The link stands in the list of ready links.
    listed: bool,
}

impl Link {
    /// `id` is unique within its fetcher.
    pub(in crate::client) fn new(
        id: u64,
        tp: Arc<TopicPartition>,
        epoch: AssignmentEpoch,
        out: FetchOut,
        owner: mpsc::WeakUnboundedSender<Command>,
    ) -> Arc<Self> {
        let queue = Mutex::new(Queue { state: LinkState::Running, events: VecDeque::new(), listed: false });
        let (held, unread, pinned) = Default::default();
        let (watched, nudged, resume_at) = (AtomicBool::new(false), AtomicBool::new(false), AtomicI64::new(-1));
        Arc::new(Self { id, tp, epoch, out, owner, queue, held, unread, pinned, resume_at, watched, nudged })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(in crate::client) fn tp(&self) -> &Arc<TopicPartition> {
        &self.tp
    }

    pub(in crate::client) fn epoch(&self) -> AssignmentEpoch {
        self.epoch
    }

    pub(in crate::client) fn options(&self) -> ReadOptions {
        self.out.options
    }

    pub(super) fn is_sparing(&self) -> bool {
        self.out.sparing
    }

    /// How the guard left it; a subscription that is gone detaches it too.
    pub(in crate::client) fn state(&self) -> LinkState {
        if self.out.is_closed() { LinkState::Detached } else { lock(&self.queue).state }
    }

    pub(in crate::client) fn held(&self) -> i64 {
        self.held.load(Ordering::Acquire)
    }

    pub(in crate::client) fn unread(&self) -> i64 {
        self.unread.load(Ordering::Acquire)
    }

    /// Nudges the owner when no more than `bytes` are held; at once if that is so already.
    pub(in crate::client) fn nudge_at(self: &Arc<Self>, bytes: i64) {
        self.resume_at.store(bytes, Ordering::SeqCst);
        self.nudge_if_low(self.held.load(Ordering::SeqCst));
    }

    fn nudge_if_low(self: &Arc<Self>, held: i64) {
        if held <= self.resume_at.load(Ordering::SeqCst) && self.resume_at.swap(-1, Ordering::SeqCst) >= 0 {
            self.nudge();
        }
    }

    /// Nudges the owner when the reader has come to everything; at once if that is so already.
    pub(super) fn nudge_when_hungry(self: &Arc<Self>) {
        self.watched.store(true, Ordering::SeqCst);
        self.nudge_if_hungry(self.unread.load(Ordering::SeqCst));
    }

    fn nudge_if_hungry(self: &Arc<Self>, unread: i64) {
        if unread == 0 && self.watched.swap(false, Ordering::SeqCst) {
            self.nudge();
        }
    }

    /// Tells the owner to look at this link again.
    fn nudge(self: &Arc<Self>) {
        if !self.nudged.swap(true, Ordering::AcqRel)
            && let Some(owner) = self.owner.upgrade()
        {
            // A closed channel means the fetcher is gone, and with it everything there was to tell.
            let _ = owner.send(Command::Nudge(self.clone()));
        }
    }

    /// The owner has the nudge and reads the state now; a later change nudges anew.
    pub(in crate::client) fn take_nudge(&self) {
        self.nudged.store(false, Ordering::Release);
    }

    /// Bytes of the frames kept in memory by this partition's batches.
    pub(super) fn pinned(&self) -> i64 {
        self.pinned.load(Ordering::Acquire)
    }

    /// Keeps a frame in memory, to be shared by the batches of this partition in it.
    pub(in crate::client) fn pin(self: &Arc<Self>, frame: Arc<Charge>) -> Arc<Pin> {
        self.pinned.fetch_add(frame.bytes(), Ordering::AcqRel);
        Arc::new(Pin { link: self.clone(), frame })
    }

    /// Counts bytes as this link's until the lease drops. `memory` is what pays for them until then, if that is not the
    /// caller's business; `lead` is that of the source they came from.
    pub(in crate::client) fn lease(self: &Arc<Self>, bytes: usize, memory: Memory, lead: &Arc<Lead>) -> Lease {
        let bytes = bytes as i64;
        self.held.fetch_add(bytes, Ordering::AcqRel);
        self.unread.fetch_add(bytes, Ordering::AcqRel);
        lead.add(bytes);
        let (unread, lead) = (AtomicBool::new(true), lead.clone());
        Lease(Some(Leased { link: self.clone(), bytes, unread, lead, _memory: memory }))
    }

    /// Queues progress. Dropped silently when detached.
    pub(in crate::client) fn deliver(self: &Arc<Self>, new: Fetched) {
        let mut queue = lock(&self.queue);
        match queue.events.back_mut() {
            // Blocks without data would pile up before a reader that does not read.
            Some(FetchEvent::Fetched(last)) if last.batches.is_empty() || new.batches.is_empty() => {
                let mut batches = std::mem::take(&mut last.batches);
                batches.extend(new.batches);
                *last = Fetched { batches, ..new };
            }
            _ => self.push(&mut queue, FetchEvent::Fetched(new)),
        }
    }

    /// Queues an event that is not data, behind the data that came before it.
    pub(in crate::client) fn report(self: &Arc<Self>, fault: FetchFault, error: Error) {
        let mut queue = lock(&self.queue);
        let notices = queue.events.iter().filter(|e| matches!(e, FetchEvent::Error(_))).count();
        if fault != FetchFault::Notice || notices < MAX_NOTICES {
            let error = FetchError { tp: self.tp.clone(), epoch: self.epoch, fault, error };
            self.push(&mut queue, FetchEvent::Error(error));
        }
    }

    fn push(self: &Arc<Self>, queue: &mut Queue, event: FetchEvent) {
        if queue.state != LinkState::Detached {
            queue.events.push_back(event);
            self.list(queue);
        }
    }

    fn list(self: &Arc<Self>, queue: &mut Queue) {
        if queue.state == LinkState::Running && !queue.listed && !queue.events.is_empty() {
            // Without a receiver the link counts as detached; see `state`.
            queue.listed = self.out.ready.send(self.clone()).is_ok();
        }
    }

    fn take(self: &Arc<Self>) -> Option<FetchEvent> {
        let mut queue = lock(&self.queue);
        queue.listed = false;
        let event = if queue.state == LinkState::Running { queue.events.pop_front() } else { None };
        self.list(&mut queue);
        event
    }

    fn set(self: &Arc<Self>, state: LinkState) {
        let dropped = {
            let mut queue = lock(&self.queue);
            if queue.state == state {
                return;
            }
            queue.state = state;
            self.list(&mut queue);
            if state == LinkState::Detached { std::mem::take(&mut queue.events) } else { VecDeque::new() }
        };
        drop(dropped);
        self.nudge();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, {:?})", self.tp, self.epoch)
    }
}

/// Bytes of one batch, charged to the budget and to its partition; dropped, they are free again.
#[derive(Default)]
pub(crate) struct Lease(Option<Leased>);

struct Leased {
    link: Arc<Link>,
    bytes: i64,
    /// Its reader has not come to it yet.
    unread: AtomicBool,
    lead: Arc<Lead>,
    _memory: Memory,
}

/// Where a batch's bytes are.
#[allow(dead_code, reason = "held until they drop")]
pub(in crate::client) enum Memory {
    /// In a frame, with other batches.
    Frame(Arc<Pin>),
    /// In a buffer of its own: decompressed, or copied.
    Own(Charge),
    /// Paid for elsewhere.
    Elsewhere,
}

/// A frame kept in memory by one partition.
pub(in crate::client) struct Pin {
    link: Arc<Link>,
    frame: Arc<Charge>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.link.pinned.fetch_sub(self.frame.bytes(), Ordering::AcqRel);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} bytes)", self.0.as_ref().map_or(0, |l| l.bytes))
    }
}

impl Lease {
    /// The reader has come to it, and may keep it for as long as it likes.
    pub(crate) fn read(&self) {
        self.0.iter().for_each(Leased::read);
    }
}

impl Leased {
    fn read(&self) {
        if self.unread.swap(false, Ordering::AcqRel) {
            let unread = self.link.unread.fetch_sub(self.bytes, Ordering::SeqCst) - self.bytes;
            self.link.nudge_if_hungry(unread);
            self.lead.read(self.bytes);
        }
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        self.read();
        let held = self.link.held.fetch_sub(self.bytes, Ordering::SeqCst) - self.bytes;
        self.link.nudge_if_low(held);
    }
}

/// Keeps a partition attached. Dropping it detaches: from then on nothing of its epoch is delivered.
#[must_use = "dropping it detaches the partition"]
#[derive(Debug)]
pub(crate) struct Attached {
    link: Arc<Link>,
    /// Keeps the fetcher's task alive as long as somebody reads.
    _owner: mpsc::UnboundedSender<Command>,
}

impl Attached {
    pub(in crate::client) fn new(link: Arc<Link>, owner: mpsc::UnboundedSender<Command>) -> Self {
        Self { link, _owner: owner }
    }

    /// Stops delivery and fetching; what has arrived waits for [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.link.set(LinkState::Paused);
    }

    /// Goes on where [`pause`](Self::pause) stopped.
    pub(crate) fn resume(&self) {
        self.link.set(LinkState::Running);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.link.set(LinkState::Detached);
    }
}

#[cfg(test)]
mod tests;
