//! Writes one partition's batches through an rskafka client: a task while there is something to write, with one request
//! under way, because without idempotence a second one could overtake it. A batch is taken apart into records, which
//! rskafka puts together again. Every try has a limit of time; one that ran into it ends the client's connection, and may
//! have been carried out, so that the batch can be written twice.

use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ::rskafka::record::Record;
use tokio::sync::Notify;

use super::judge::{self, Meaning};
use super::open::Opened;
use super::{Common, records};
use crate::client::producer::PartitionQueue;
use crate::client::producer::queue::{Outcome, Retry, Take, Taken};
use crate::client::producer::sequencer::Answer;
use crate::client::producer::sink::answers;
use crate::client::types::TopicPartition;
use crate::env::lock;
use crate::error::{Error, ErrorKind};
use crate::wire::ErrorCode;

/// A connection that nothing was written to for so long is closed.
const IDLE: Duration = Duration::from_secs(30);
/// How often an idle one looks whether others wait for its connection.
const LOOK: Duration = Duration::from_secs(1);
/// The one that has a partition's batches under way: wherever its leader is, they go through this task.
const OWNER: i32 = 0;

/// See the module. Dropping it ends the task, after what is under way.
pub(super) struct Writer {
    common: Arc<Common>,
    tp: Arc<TopicPartition>,
    mail: Arc<Mail>,
}

/// Between the queue's owner and the task.
#[derive(Default)]
struct Mail {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    /// It has something to send.
    queue: Option<Arc<PartitionQueue>>,
    running: bool,
    closed: bool,
}

impl Writer {
    pub(super) fn new(common: Arc<Common>, tp: Arc<TopicPartition>) -> Self {
        Self { common, tp, mail: Arc::default() }
    }

    /// Has the task look at the queue; starts it if there is none.
    pub(super) fn submit(&self, queue: &Arc<PartitionQueue>) {
        let start = {
            let mut state = lock(&self.mail.state);
            state.queue = Some(queue.clone());
            !std::mem::replace(&mut state.running, true)
        };
        self.mail.arrived.notify_one();
        if start {
            let task =
                Task { common: Arc::downgrade(&self.common), tp: self.tp.clone(), mail: self.mail.clone(), open: None };
            // It ends when nothing was submitted for a while, or with the writer.
            let _detached = self.common.cluster.env().spawn(task.run());
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.mail.state).closed = true;
        self.mail.arrived.notify_one();
    }
}

struct Task {
    common: Weak<Common>,
    tp: Arc<TopicPartition>,
    mail: Arc<Mail>,
    open: Option<Opened>,
}

impl Task {
    async fn run(mut self) {
        let mut idle = Duration::ZERO;
        loop {
            let queue = {
                let mut state = lock(&self.mail.state);
                let queue = state.queue.take();
                if queue.is_none() && (self.open.is_none() || state.closed) {
                    state.running = false;
                    return;
                }
                queue
            };
            let Some(common) = self.common.upgrade() else { return };
            match queue {
                Some(queue) => self.drain(&common, &queue).await,
                None => {
                    self.give_way(&common);
                    let env = common.cluster.env().clone();
                    drop(common);
                    if env.timeout(LOOK, self.mail.arrived.notified()).await.is_some() {
                        idle = Duration::ZERO;
                        continue;
                    }
                    idle += LOOK;
                    if idle >= IDLE {
                        self.open = None;
                    }
                }
            }
        }
    }

    /// Gives the connection up if others wait for one.
    fn give_way(&mut self, common: &Common) {
        if common.opener.is_short() {
            self.open = None;
        }
    }

    /// Writes what the queue has, until it has nothing more.
    async fn drain(&mut self, common: &Common, queue: &Arc<PartitionQueue>) {
        let env = common.cluster.env();
        loop {
            match queue.take(env.now(), OWNER) {
                Take::Batch(mut taken) => {
                    let outcome = self.write(common, &mut taken).await;
                    if let Outcome::Refused { answer, error, .. } = &outcome {
                        tracing::debug!(target: "dispatcher::client::rskafka", tp = %self.tp, %error, "a batch was not written");
                        // What the producer knows of the topic may be out of date: it may have been made again.
                        if matches!(answer, Answer::Retry { .. }) {
                            common.cluster.want(std::iter::once(&self.tp.topic));
                        }
                    }
                    queue.settle(taken, outcome, env.now());
                    self.give_way(common);
                }
                Take::Later(at) | Take::NeedsIdentity(at) => {
                    self.give_way(common);
                    tokio::select! {
                        biased;
                        () = self.mail.arrived.notified() => {}
                        () = env.sleep_until(at) => {}
                    }
                }
                Take::Idle => return,
            }
        }
    }

    /// Writes a batch. It, and what waits behind it, may run out of time once it is on its way; before, it is not written.
    async fn write(&mut self, common: &Common, taken: &mut Taken) -> Outcome {
        let env = common.cluster.env();
        let records = match taken.parcel.open().map_err(Error::from).and_then(|batch| records::to_write(&batch)) {
            Ok(records) => records,
            // Cut in half, and again, until what cannot be written stands alone.
            Err(error) => return Outcome::Refused { answer: Answer::TooLarge, error, retry: Retry::AtOnce },
        };
        let limit = taken.queue.shared().config.request_timeout;
        let left = taken.deadline().saturating_duration_since(env.now());
        let opened = match self.open.take() {
            Some(opened) => opened,
            None => match common.opener.open(&self.tp, limit.min(left)).await {
                Ok(opened) => opened,
                Err(error) => return refused(error, Answer::Retry { maybe_written: false }),
            },
        };
        let mut writing = pin!(self.put(common, opened, records, limit));
        let mut wake_at = taken.deadline();
        loop {
            tokio::select! {
                biased;
                outcome = &mut writing => return outcome,
                () = env.sleep_until(wake_at) => {
                    taken.give_up();
                    let now = env.now();
                    wake_at = taken.queue.expire(now).unwrap_or(now + LOOK);
                }
            }
        }
    }

    /// Gives the records to the leader.
    async fn put(&mut self, common: &Common, opened: Opened, records: Vec<Record>, limit: Duration) -> Outcome {
        let env = common.cluster.env();
        let written = env.timeout(limit, opened.client.produce(records, common.codecs.of(&self.tp.topic))).await;
        match written {
            Some(Ok(offsets)) => {
                self.open = Some(opened);
                let base_offset = offsets.first().copied().filter(|&offset| offset >= 0);
                Outcome::Written { base_offset, log_append_time: None }
            }
            Some(Err(theirs)) => {
                let error = judge::error(&theirs, format_args!("Produce to {}", self.tp));
                match judge::judge(&theirs) {
                    Meaning::Refused(code) => {
                        self.keep(opened, code);
                        answers::outcome(code, error, false)
                    }
                    Meaning::Lost { sent } => refused(error, Answer::Retry { maybe_written: sent }),
                    Meaning::Unreadable => refused(error, Answer::Failed { maybe_written: true }),
                    Meaning::Impossible => refused(error, Answer::Failed { maybe_written: false }),
                }
            }
            // The connection may be dead, and rskafka would not notice.
            None => {
                let text = format!("Produce to {}: no answer within {limit:?}", self.tp);
                refused(Error::new(ErrorKind::Timeout, text), Answer::Retry { maybe_written: true })
            }
        }
    }

    /// Keeps a connection that a broker answered on, unless it is not the leader's.
    fn keep(&mut self, opened: Opened, code: ErrorCode) {
        if !answers::is_stale_metadata(code) {
            self.open = Some(opened);
        }
    }
}

fn refused(error: Error, answer: Answer) -> Outcome {
    Outcome::Refused { answer, error, retry: Retry::AfterBackoff }
}
