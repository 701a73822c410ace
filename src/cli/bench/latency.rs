//! From just before `send` to the handler, at a steady rate, with sender and receiver in one process. What is sent in
//! the first two seconds is not counted.

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::measure::{Measured, Stopwatch, while_it_moves};
use super::{Bench, unique};
use crate::cli::connect;
use crate::cli::exit::{Exit, Outcome};
use crate::env::lock;
use crate::{Message, Result, Topic};

const WARM_UP: Duration = Duration::from_secs(2);

/// In front of each payload: this run's mark, then the time in ns since its start, then padding.
const MARK: usize = 16;
const DIGITS: usize = 20;

struct Receiving {
    mark: Vec<u8>,
    epoch: Instant,
    ready: AtomicBool,
    received: AtomicU64,
    /// Sent when, and how long under way, both in ns.
    samples: Mutex<Vec<(u64, u64)>>,
}

pub(super) async fn run(bench: &Bench) -> Outcome<Measured> {
    if bench.args.size < MARK + DIGITS {
        return Err(Exit::usage(format!("--size: latency needs {} bytes or more", MARK + DIGITS)));
    }
    let dispatcher = bench.connect().await?;
    let receiving = Arc::new(Receiving {
        mark: unique().into_bytes(),
        epoch: Instant::now(),
        ready: AtomicBool::new(false),
        received: AtomicU64::new(0),
        samples: Mutex::new(Vec::with_capacity(bench.messages as usize)),
    });
    let group = format!("dispatcher-bench-{}", unique());
    let handler = {
        let receiving = receiving.clone();
        move |message: Message| {
            receiving.take(&message);
            ready(Ok::<(), Infallible>(()))
        }
    };
    let subscription = dispatcher.subscribe(&bench.topic, handler).group_exact(&group).skip_existing().start().await?;
    let topic = dispatcher.topic(&bench.topic).await?;
    let sent = while_it_moves(&receiving.received, send_all(bench, &topic, &receiving)).await;
    let stopped = subscription.stop().await;
    let _ = dispatcher.delete_group(&group).await;
    connect::close(dispatcher).await;
    let watched = match sent {
        Some(sent) => {
            stopped?;
            Some(sent?)
        }
        None => None,
    };
    let samples = lock(&receiving.samples);
    let start = samples.iter().map(|(sent, _)| *sent).min().unwrap_or(0);
    let counted = samples
        .iter()
        .filter(|(sent, _)| sent - start >= WARM_UP.as_nanos() as u64)
        .map(|(_, latency)| *latency as f64 / 1e3)
        .collect();
    let done = samples.len() as u64;
    let (wall, cpu) = watched.unwrap_or_default();
    let measured = Measured { done, bytes: done * bench.args.size as u64, wall, cpu, ..Measured::default() };
    Ok(measured.with_latencies(counted))
}

/// Wall and CPU time of all messages, those of the warm-up too; not of the probes.
async fn send_all(bench: &Bench, topic: &Topic, receiving: &Receiving) -> Result<(Duration, Duration)> {
    let mut payload = vec![b'0'; bench.args.size];
    payload[..MARK].copy_from_slice(&receiving.mark);
    // The receiver begins at the topic's end, wherever that is when it has joined: probe until it hears.
    payload[MARK..MARK + DIGITS].fill(b'-');
    while !receiving.ready.load(Ordering::Relaxed) {
        topic.send(&payload).partition(0).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let watch = Stopwatch::start();
    let started = Instant::now();
    for i in 0..bench.messages {
        let due = started + Duration::from_secs_f64(i as f64 / bench.rate());
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let digits = format!("{:0DIGITS$}", receiving.epoch.elapsed().as_nanos());
        payload[MARK..MARK + DIGITS].copy_from_slice(digits.as_bytes());
        // Should it fail, it shows as a message that never comes.
        drop(topic.send(&payload).partition(0).enqueue().await?);
    }
    while (lock(&receiving.samples).len() as u64) < bench.messages {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((watch.wall(), watch.cpu()))
}

impl Receiving {
    fn take(&self, message: &Message) {
        let now = self.epoch.elapsed().as_nanos() as u64;
        let Some((mark, rest)) = message.value().and_then(|v| v.split_at_checked(MARK)) else { return };
        if mark != self.mark {
            return;
        }
        self.received.fetch_add(1, Ordering::Relaxed);
        self.ready.store(true, Ordering::Relaxed);
        let sent = rest.get(..DIGITS).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
        if let Some(sent) = sent {
            lock(&self.samples).push((sent, now.saturating_sub(sent)));
        }
    }
}
