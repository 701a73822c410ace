//! Sends as fast as the cluster acknowledges, or at a rate: record i to partition i mod partitions, or by key.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{FutureExt, Map};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::measure::{Measured, Stopwatch, while_it_moves};
use super::{Bench, payloads};
use crate::cli::connect;
use crate::cli::exit::Outcome;
use crate::{Delivery, Result, SendReport, Topic};

pub(super) async fn run(bench: &Bench) -> Outcome<Measured> {
    let values = payloads(bench.args.size);
    let keys: Vec<String> = (0..bench.args.keys.unwrap_or(0).min(1 << 20)).map(|k| format!("key-{k}")).collect();
    let dispatcher = bench.connect().await?;
    let topic = dispatcher.topic(&bench.topic).await?;
    let acknowledged = AtomicU64::new(0);
    let watch = Stopwatch::start();
    let outcome = while_it_moves(&acknowledged, send_all(bench, &topic, &values, &keys, &acknowledged, &watch)).await;
    let (wall, cpu) = (watch.wall(), watch.cpu());
    connect::close(dispatcher).await;
    if let Some(Err(e)) = outcome {
        return Err(e.into());
    }
    let done = acknowledged.into_inner();
    Ok(Measured { done, bytes: done * bench.args.size as u64, wall, cpu, ..Measured::default() })
}

async fn send_all(
    bench: &Bench,
    topic: &Topic,
    values: &[Vec<u8>],
    keys: &[String],
    acknowledged: &AtomicU64,
    watch: &Stopwatch,
) -> Result<()> {
    let window = bench.window() as usize;
    let partitions = i64::from(bench.partitions);
    let mut pending = Pending::default();
    for i in 0..bench.messages {
        if let Some(rate) = bench.args.rate {
            let due = Duration::from_secs_f64(i as f64 / rate);
            if let Some(early) = due.checked_sub(watch.wall()).filter(|early| !early.is_zero()) {
                tokio::time::sleep(early).await;
            }
        }
        while pending.count >= window {
            acknowledged.fetch_add(pending.settled().await?, Ordering::Relaxed);
        }
        let message = topic.send(&values[i as usize % values.len()]);
        let message = match keys.get(i as usize % keys.len().max(1)) {
            Some(key) => message.key(key),
            None => message.partition((i as i64 % partitions) as i32),
        };
        pending.push(message.enqueue().await?);
    }
    while pending.count > 0 {
        acknowledged.fetch_add(pending.settled().await?, Ordering::Relaxed);
    }
    Ok(())
}

/// Unacknowledged messages. Those of one partition are acknowledged in their order, those of two in any.
#[derive(Default)]
struct Pending {
    by_partition: Vec<OfOne>,
    /// The oldest of each partition.
    oldest: FuturesUnordered<Oldest>,
    count: usize,
}

#[derive(Default)]
struct OfOne {
    is_awaited: bool,
    behind: VecDeque<Delivery>,
}

type Oldest = Map<Delivery, fn(Result<SendReport>) -> Result<i32>>;

fn oldest(delivery: Delivery) -> Oldest {
    delivery.map(|sent| sent.map(|sent| sent.partition()))
}

impl Pending {
    fn push(&mut self, delivery: Delivery) {
        let partition = usize::try_from(delivery.partition()).unwrap_or_default();
        if self.by_partition.len() <= partition {
            self.by_partition.resize_with(partition + 1, OfOne::default);
        }
        let of_one = &mut self.by_partition[partition];
        if std::mem::replace(&mut of_one.is_awaited, true) {
            of_one.behind.push_back(delivery);
        } else {
            self.oldest.push(oldest(delivery));
        }
        self.count += 1;
    }

    /// Waits until some are acknowledged: how many.
    async fn settled(&mut self) -> Result<u64> {
        let Some(partition) = self.oldest.next().await else { return Ok(0) };
        let of_one = &mut self.by_partition[usize::try_from(partition?).unwrap_or_default()];
        of_one.is_awaited = false;
        let mut settled = 1;
        while let Some(mut next) = of_one.behind.pop_front() {
            match (&mut next).now_or_never() {
                Some(sent) => settled += sent.map(|_| 1)?,
                None => {
                    of_one.is_awaited = true;
                    self.oldest.push(oldest(next));
                    break;
                }
            }
        }
        self.count -= settled as usize;
        Ok(settled)
    }
}
