//! Looks at what a group has committed while its members run as processes of their own, and what follows from them about
//! messages that were handled again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dispatcher::Dispatcher;

use super::check::Place;
use super::log::{HandlerLog, What};

/// Looks at a group until it is told to stop.
pub struct Looks {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Look>>,
}

struct Look {
    at: Duration,
    committed: BTreeMap<i32, i64>,
    /// How long each member's log was, in bytes, once the commits were known: what is behind that came later.
    lengths: Vec<u64>,
}

/// What the looks say of messages that were handled again.
#[derive(Debug)]
pub struct Again {
    /// Messages that were handled to their end more than once.
    pub messages: usize,
    /// Most that were finished and not committed at one look, and when that was.
    pub uncommitted: (usize, Duration),
}

impl Looks {
    pub fn start(dispatcher: Dispatcher, topic: &str, group: &str, logs: &[PathBuf]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, topic, group, logs) = (stop.clone(), topic.to_owned(), group.to_owned(), logs.to_vec());
        let task = tokio::spawn(async move {
            let (began, mut looks) = (Instant::now(), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                // While the coordinator is away there may be no answer.
                if let Ok(status) = dispatcher.consume_status_exact(&topic, &group).await {
                    let committed = status.partitions().iter().filter_map(|p| Some((p.partition(), p.committed()?)));
                    let committed = committed.collect();
                    let length = |log: &PathBuf| std::fs::metadata(log).map_or(0, |file| file.len());
                    looks.push(Look { at: began.elapsed(), committed, lengths: logs.iter().map(length).collect() });
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            looks
        });
        Self { stop, task }
    }

    /// D after crashes: whenever a handler was called, the message was not committed at the last look before. What is
    /// handled again is therefore what had been in flight, or finished since the last commit.
    pub async fn finish(self, logs: &[PathBuf]) -> Again {
        self.stop.store(true, Ordering::Relaxed);
        let looks = super::within(Duration::from_secs(60), "the last look", self.task).await.unwrap();
        let members: Vec<_> = logs.iter().map(|log| HandlerLog::read(log)).collect();
        // What each look is the last one before.
        let mut done: Vec<Vec<Place>> = vec![Vec::new(); looks.len() + 1];
        for (member, log) in members.iter().enumerate() {
            let text = std::fs::read_to_string(&logs[member]).unwrap_or_default();
            let (mut at, mut next) = (0, 0);
            for (line, event) in text.split_inclusive('\n').zip(log.events()) {
                while looks.get(next).is_some_and(|look| look.lengths[member] <= at) {
                    next += 1;
                }
                at += line.len() as u64;
                let last = next.checked_sub(1).map(|last| &looks[last]);
                let from = last.and_then(|look| look.committed.get(&event.partition)).copied().unwrap_or(0);
                assert!(
                    event.what != What::Start || event.offset >= from,
                    "D: member {member} was given {event:?} when {from} was committed"
                );
                if event.what == What::Done {
                    done[next].push((event.partition, event.offset));
                }
            }
        }
        let (mut beyond, mut uncommitted) = (BTreeSet::new(), (0, Duration::ZERO));
        for (look, before) in looks.iter().zip(done) {
            beyond.extend(before);
            beyond.retain(|(partition, offset)| look.committed.get(partition).is_none_or(|next| offset >= next));
            uncommitted = uncommitted.max((beyond.len(), look.at));
        }
        let messages = super::check::finished(&members).values().filter(|times| **times > 1).count();
        Again { messages, uncommitted }
    }
}
