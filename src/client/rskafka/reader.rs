//! Reads one attached partition through an rskafka client: a task that fetches, puts the records into batches again and
//! delivers them. All tasks share one budget of bytes, and so many fetches under way; who has to wait for a turn is asked
//! for less at a time. Where rskafka hands out nothing, or fails, a look at the log says how to go on: a compacted tail
//! does not make it spin, and a batch it cannot read stops the partition with the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::rskafka::client::partition::OffsetAt;
use ::rskafka::record::RecordAndOffset;
use tokio::sync::{Semaphore, mpsc};

use super::Common;
use super::judge::{self, Meaning};
use super::look::{Found, look};
use super::open::Opened;
use super::records;
use crate::client::fetch::seam::{
    Budget, Command, Link, LinkState, LogFacts, Memory, Reservation, attachment, out_of_range,
};
use crate::client::fetch::{Attached, FetchConfig, FetchFault, FetchOut, Fetched, FetchedBatch, OnBadBatch};
use crate::client::producer::sink::answers;
use crate::client::retry::Backoff;
use crate::client::types::{AssignmentEpoch, Position, TopicPartition};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;
use crate::wire::records::Cursor;

/// Fetches under way at one time.
const MAX_FETCHES: usize = 64;
/// What a fetch asks for, between these, as the budget and the number of partitions allow.
const LEAST_BYTES: i64 = 1 << 16;
const MOST_BYTES: i64 = 1 << 20;
/// How long bytes of the budget are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a batch that cannot be read, so many are fetched one by one: it is the next or one of those behind.
const ONE_BY_ONE: u32 = 256;

/// What all readers share.
pub(super) struct Readers {
    config: FetchConfig,
    budget: Budget,
    turns: Semaphore,
    count: AtomicUsize,
}

impl Readers {
    pub(super) fn new(config: FetchConfig) -> Self {
        let budget = Budget::new(config.budget);
        Self { config, budget, turns: Semaphore::new(MAX_FETCHES), count: AtomicUsize::new(0) }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed).max(1)
    }

    /// Bytes a partition is asked for at a time, and may hold before it is asked again.
    fn share(&self) -> i64 {
        (self.budget.capacity() / (2 * self.count() as i64)).clamp(LEAST_BYTES, MOST_BYTES)
    }

    /// How long a broker may wait for records: when there are more partitions than turns, less, so that all come round
    /// within the time that one may wait.
    fn max_wait(&self) -> Duration {
        self.config.max_wait / self.count().div_ceil(MAX_FETCHES) as u32
    }
}

/// See the module. Returns at once.
pub(super) fn start(
    common: &Arc<Common>,
    tp: Arc<TopicPartition>,
    position: Position,
    epoch: AssignmentEpoch,
    out: FetchOut,
) -> Attached {
    let id = common.ids.fetch_add(1, Ordering::Relaxed);
    let (attached, link, nudges) = attachment(id, tp, epoch, out);
    let backoff = Backoff::new(common.cluster.config().retry_backoff);
    let reader =
        Reader { common: common.clone(), link, nudges, position, open: None, backoff, one_by_one: 0, told: false };
    // It ends with the attachment.
    let _detached = common.cluster.env().spawn(reader.run());
    attached
}

struct Reader {
    common: Arc<Common>,
    link: Arc<Link>,
    nudges: mpsc::UnboundedReceiver<Command>,
    position: Position,
    open: Option<Opened>,
    backoff: Backoff,
    /// Fetches that still get one batch each.
    one_by_one: u32,
    /// The user was told of the refusal that still lasts.
    told: bool,
}

/// Whether the connection is of use after this error.
fn keeps(error: &::rskafka::client::error::Error) -> bool {
    match judge::judge(error) {
        Meaning::Lost { .. } => false,
        Meaning::Refused(code) => !answers::is_stale_metadata(code),
        Meaning::Unreadable | Meaning::Impossible => true,
    }
}

/// The attachment has ended.
struct Gone;

/// What one fetch came to.
type Answer = std::result::Result<(Vec<RecordAndOffset>, i64), ::rskafka::client::error::Error>;

impl Reader {
    async fn run(mut self) {
        self.common.readers.count.fetch_add(1, Ordering::Relaxed);
        let Err(Gone) = self.turn().await;
        self.common.readers.count.fetch_sub(1, Ordering::Relaxed);
    }

    async fn turn(&mut self) -> Result<std::convert::Infallible, Gone> {
        loop {
            self.may_fetch().await?;
            self.same_topic()?;
            if let Err(error) = self.fetch().await? {
                tracing::debug!(target: "dispatcher::client::rskafka", tp = %self.link.tp(), %error, "fetch failed");
                self.common.cluster.refresh();
                self.nap().await?;
            }
            if self.common.opener.is_short() {
                self.open = None;
            }
        }
    }

    /// Waits while the partition is paused, or its reader has enough to do.
    async fn may_fetch(&mut self) -> Result<(), Gone> {
        loop {
            let share = self.common.readers.share();
            match self.link.state() {
                LinkState::Detached => return Err(Gone),
                LinkState::Running if self.link.held() <= share => return Ok(()),
                LinkState::Running => self.link.nudge_at(share),
                // It may last: others have a use for the connection.
                LinkState::Paused => self.open = None,
            }
            self.nudged_or_short().await?;
        }
    }

    /// Gives the connection up meanwhile if others wait for one.
    async fn nudged_or_short(&mut self) -> Result<(), Gone> {
        let common = self.common.clone();
        while self.open.is_some() {
            if let Some(nudged) = common.cluster.env().timeout(PATIENCE, self.nudged()).await {
                return nudged;
            }
            if common.opener.is_short() {
                self.open = None;
            }
        }
        self.nudged().await
    }

    async fn nudged(&mut self) -> Result<(), Gone> {
        self.nudges.recv().await.ok_or(Gone)?;
        self.link.take_nudge();
        Ok(())
    }

    /// Waits for `future`; gives it up when the attachment ends.
    async fn meanwhile<F: Future>(&mut self, future: F) -> Result<F::Output, Gone> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                nudged = self.nudges.recv() => {
                    nudged.ok_or(Gone)?;
                    self.link.take_nudge();
                    if self.link.state() == LinkState::Detached {
                        return Err(Gone);
                    }
                }
                output = &mut future => return Ok(output),
            }
        }
    }

    async fn nap(&mut self) -> Result<(), Gone> {
        let env = self.common.cluster.env().clone();
        let pause = env.random(|rng| self.backoff.next(rng));
        self.meanwhile(env.sleep(pause)).await
    }

    /// rskafka knows topics by name only: whether it is still the same one, our metadata say.
    fn same_topic(&mut self) -> Result<(), Gone> {
        let tp = self.link.tp();
        let id = self.common.cluster.topology().topic(&tp.topic).map(|t| t.id).unwrap_or_default();
        if self.position.topic_id.is_zero() {
            self.position.topic_id = id;
        } else if !id.is_zero() && id != self.position.topic_id {
            let at = self.position.offset;
            let text = format!(
                "topic {} was deleted and created again: {tp} at offset {at} is no longer what was read",
                tp.topic
            );
            return Err(self.stop(FetchFault::Recreated, Error::new(ErrorKind::UnknownTopic, text)));
        }
        Ok(())
    }

    /// The partition cannot go on.
    fn stop(&self, fault: FetchFault, error: Error) -> Gone {
        tracing::warn!(target: "dispatcher::client::rskafka", tp = %self.link.tp(), %error, "the partition has stopped");
        self.link.report(fault, error);
        Gone
    }

    /// One fetch and what follows from it. An error is one that may pass.
    async fn fetch(&mut self) -> Result<Result<()>, Gone> {
        let common = self.common.clone();
        let (env, tp) = (common.cluster.env(), self.link.tp().clone());
        let limit = common.cluster.config().request_timeout;
        let opened = match self.open.take() {
            Some(opened) => opened,
            None => match self.meanwhile(common.opener.open(&tp, limit)).await? {
                Ok(opened) => opened,
                Err(error) => return Ok(self.refused(error)),
            },
        };
        if self.one_by_one > 0 {
            match self.is_sound().await? {
                Ok(true) => {}
                done => {
                    self.open = Some(opened);
                    return Ok(done.map(|_| ()));
                }
            }
        }
        let share = common.readers.share();
        let Readers { turns, budget, .. } = &common.readers;
        let reserving = env.timeout(PATIENCE, budget.reserve(share / 2, share));
        let reservation = match self.meanwhile(reserving).await? {
            Some(reservation) => reservation,
            // Others may hold all of the budget for long: who has nothing goes on by one batch at a time.
            None if self.link.held() == 0 => budget.overdraw(),
            None => {
                self.open = Some(opened);
                return Ok(Ok(()));
            }
        };
        // Never closed, so that there is always a turn.
        let turn = self.meanwhile(turns.acquire()).await?.ok();
        let (wait, from) = (common.readers.max_wait(), self.position.offset);
        let bytes = if self.one_by_one > 0 { 1 } else { reservation.bytes().clamp(1, MOST_BYTES) as i32 };
        let fetching = opened.client.fetch_records(from, 1..bytes + 1, wait.as_millis() as i32);
        let answer = self.meanwhile(env.timeout(wait + limit, fetching)).await?;
        drop(turn);
        match answer {
            Some(Ok(_)) => self.open = Some(opened),
            Some(Err(ref error)) if keeps(error) => self.open = Some(opened),
            // A connection that is dead, or may be, or another broker's.
            Some(Err(_)) | None => drop(opened),
        }
        let Some(answer) = answer else {
            let text = format!("Fetch from {tp} at offset {from}: no answer within {:?}", wait + limit);
            return Ok(Err(Error::new(ErrorKind::Timeout, text)));
        };
        self.take_in(answer, reservation).await
    }

    async fn take_in(&mut self, answer: Answer, reservation: Reservation) -> Result<Result<()>, Gone> {
        let from = self.position.offset;
        match answer {
            Ok((records, high_watermark)) if records.is_empty() => {
                drop(reservation);
                self.nothing(from, high_watermark).await
            }
            Ok((records, high_watermark)) => {
                self.one_by_one = self.one_by_one.saturating_sub(1);
                self.went_well();
                Ok(self.deliver(&records, high_watermark, reservation))
            }
            Err(theirs) => {
                drop(reservation);
                let error = judge::error(&theirs, format_args!("Fetch from {} at offset {from}", self.link.tp()));
                match judge::judge(&theirs) {
                    Meaning::Refused(ErrorCode::OFFSET_OUT_OF_RANGE) => self.find_place().await,
                    // Of topics that are kept in zstd, whatever lies here.
                    Meaning::Refused(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE) => self.unreadable(from, error).await,
                    Meaning::Refused(_) => Ok(self.refused(error)),
                    Meaning::Lost { .. } => Ok(Err(error)),
                    Meaning::Impossible => Err(self.stop(FetchFault::BadBatch { offset: from }, error)),
                    Meaning::Unreadable => self.unreadable(from, error).await,
                }
            }
        }
    }

    fn went_well(&mut self) {
        self.backoff.reset();
        self.told = false;
    }

    /// Something that may pass; the user is told once of what looks as if it lasts.
    fn refused(&mut self, error: Error) -> Result<()> {
        if !error.is_retriable() && !std::mem::replace(&mut self.told, true) {
            tracing::warn!(target: "dispatcher::client::rskafka", tp = %self.link.tp(), %error, "fetch refused");
            self.link.report(FetchFault::Notice, error.clone());
        }
        Err(error)
    }

    /// No records: there are none yet, or compaction left none here, which rskafka does not tell apart.
    async fn nothing(&mut self, from: i64, high_watermark: i64) -> Result<Result<()>, Gone> {
        if from >= high_watermark {
            self.went_well();
            self.progress(Vec::new(), from, high_watermark);
            return Ok(Ok(()));
        }
        let (common, tp) = (self.common.clone(), self.link.tp().clone());
        match self.meanwhile(look(&common.cluster, &tp, from)).await? {
            Ok(Found::Gap { next_offset }) => {
                self.went_well();
                self.position.offset = next_offset;
                self.progress(Vec::new(), next_offset, high_watermark);
                Ok(Ok(()))
            }
            // An open transaction, or what came in between.
            Ok(Found::Nothing | Found::Batch { why: None, .. }) => {
                self.nap().await?;
                Ok(Ok(()))
            }
            Ok(Found::Batch { behind, why }) => self.bad(from, behind, why),
            Err(error) => Ok(Err(error)),
        }
    }

    /// An answer that rskafka fails to read as a whole. What is readable in it comes first, batch by batch.
    async fn unreadable(&mut self, from: i64, error: Error) -> Result<Result<()>, Gone> {
        let alone = self.one_by_one > 0;
        self.one_by_one = ONE_BY_ONE;
        let (common, tp) = (self.common.clone(), self.link.tp().clone());
        match self.meanwhile(look(&common.cluster, &tp, from)).await? {
            Ok(Found::Batch { behind, why }) if alone || why.is_some() => self.bad(from, behind, why),
            Ok(Found::Gap { next_offset }) => {
                self.pass(next_offset);
                Ok(Ok(()))
            }
            Ok(_) if alone => Ok(Err(error)),
            Ok(_) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
        }
    }

    /// While batches come one by one, each is looked at first: rskafka hands out those of a transaction as well, whatever
    /// became of it. False: there is nothing to fetch here any more.
    async fn is_sound(&mut self) -> Result<Result<bool>, Gone> {
        let (common, tp, from) = (self.common.clone(), self.link.tp().clone(), self.position.offset);
        match self.meanwhile(look(&common.cluster, &tp, from)).await? {
            Ok(Found::Batch { behind, why: Some(why) }) => Ok(self.bad(from, behind, Some(why))?.map(|()| false)),
            Ok(Found::Gap { next_offset }) => {
                self.pass(next_offset);
                Ok(Ok(false))
            }
            Ok(_) => Ok(Ok(true)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Everything below this offset is done with.
    fn pass(&mut self, next_offset: i64) {
        self.position.offset = next_offset;
        self.progress(Vec::new(), next_offset, next_offset);
    }

    fn bad(&mut self, offset: i64, behind: i64, why: Option<&str>) -> Result<Result<()>, Gone> {
        let tp = self.link.tp();
        let why = why.unwrap_or("something there");
        let skip = self.link.options().on_bad_batch == OnBadBatch::Skip;
        let remedy = if skip {
            "it was passed over"
        } else {
            "use the native backend for this topic, or pass over it with on_bad_batch(Skip)"
        };
        let text = format!("{tp} at offset {offset}: the rskafka backend cannot read {why}: {remedy}");
        let error = Error::new(ErrorKind::CorruptBatch, text);
        if !skip {
            return Err(self.stop(FetchFault::BadBatch { offset }, error));
        }
        tracing::warn!(target: "dispatcher::client::rskafka", %tp, %error, "batch passed over");
        self.link.report(FetchFault::Notice, error);
        self.pass(behind);
        Ok(Ok(()))
    }

    /// The offset is not in the log: where to go on.
    async fn find_place(&mut self) -> Result<Result<()>, Gone> {
        let common = self.common.clone();
        let env = common.cluster.env();
        let limit = common.cluster.config().request_timeout;
        // In a new topic of the same name it means something else.
        match self.meanwhile(env.timeout(limit, common.cluster.refresh_now())).await? {
            Some(Err(error)) => return Ok(Err(error)),
            _ => self.same_topic()?,
        }
        let Some(opened) = self.open.take() else { return Ok(Ok(())) };
        let asking = env.timeout(limit, async {
            let start = opened.client.get_offset(OffsetAt::Earliest).await?;
            let end = opened.client.get_offset(OffsetAt::Latest).await?;
            Ok::<_, ::rskafka::client::error::Error>((start, end))
        });
        let tp = self.link.tp().clone();
        match self.meanwhile(asking).await? {
            Some(Ok((start, end))) => {
                self.open = Some(opened);
                let facts = LogFacts { start, end: end.max(start), epoch_end: None };
                match out_of_range(&self.link, self.position, facts) {
                    Some(position) => self.position = position,
                    None => self.nap().await?,
                }
                Ok(Ok(()))
            }
            Some(Err(error)) => Ok(Err(judge::error(&error, format_args!("ListOffsets of {tp}")))),
            None => Ok(Err(Error::new(ErrorKind::Timeout, format!("ListOffsets of {tp}: no answer within {limit:?}")))),
        }
    }

    fn deliver(&mut self, records: &[RecordAndOffset], high_watermark: i64, reservation: Reservation) -> Result<()> {
        let batches = records::batches(records)?;
        let Some(next_offset) = records.last().map(|last| last.offset + 1) else { return Ok(()) };
        let bytes = batches.iter().map(|batch| batch.data().len()).sum::<usize>();
        let pin = self.link.pin(Arc::new(reservation.settle(bytes as i64)));
        let fetched = batches.into_iter().map(|batch| {
            Arc::new(FetchedBatch {
                tp: self.link.tp().clone(),
                epoch: self.link.epoch(),
                start: Cursor::default(),
                count: batch.records_count(),
                lease: self.link.lease(batch.data().len(), Memory::Frame(pin.clone()), &Arc::default()),
                batch,
            })
        });
        let fetched = fetched.collect();
        self.position.offset = next_offset;
        self.progress(fetched, next_offset, high_watermark);
        Ok(())
    }

    /// rskafka does not tell the last stable offset.
    fn progress(&self, batches: Vec<Arc<FetchedBatch>>, next_offset: i64, high_watermark: i64) {
        self.link.deliver(Fetched {
            tp: self.link.tp().clone(),
            epoch: self.link.epoch(),
            batches,
            next_offset,
            high_watermark,
            last_stable: high_watermark,
        });
    }
}
