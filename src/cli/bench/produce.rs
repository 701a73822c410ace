//! Sends as fast as the cluster acknowledges, or at a rate: record i to partition i mod partitions, or by key.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::measure::{Measured, Stopwatch, while_it_moves};
use super::{Bench, payloads};
use crate::cli::connect;
use crate::cli::exit::Outcome;
use crate::{Delivery, Result, Topic};

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
    let mut pending: VecDeque<Delivery> = VecDeque::with_capacity(window.min(1 << 20));
    let partitions = i64::from(bench.partitions);
    for i in 0..bench.messages {
        if let Some(rate) = bench.args.rate {
            let due = Duration::from_secs_f64(i as f64 / rate);
            if let Some(early) = due.checked_sub(watch.wall()).filter(|early| !early.is_zero()) {
                tokio::time::sleep(early).await;
            }
        }
        if pending.len() >= window
            && let Some(oldest) = pending.pop_front()
        {
            oldest.await?;
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let message = topic.send(&values[i as usize % values.len()]);
        let message = match keys.get(i as usize % keys.len().max(1)) {
            Some(key) => message.key(key),
            None => message.partition((i as i64 % partitions) as i32),
        };
        pending.push_back(message.enqueue().await?);
    }
    for delivery in pending {
        delivery.await?;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
