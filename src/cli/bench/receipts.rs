//! Round trips: from just before `send` to the receipt of a handler in this process, `--window` of them at once.

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::measure::{Measured, Stopwatch, while_it_moves};
use super::{Bench, payloads, unique};
use crate::cli::connect;
use crate::cli::exit::Outcome;
use crate::{Dispatcher, Envelope, Message, Result};

/// A receipt that has not come by then is none.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two messages that see whether the consumer is there.
const PROBE: Duration = Duration::from_millis(200);

pub(super) async fn run(bench: &Bench) -> Outcome<Measured> {
    let config = crate::Config { envelope: Envelope::Headers, create_topics: true, ..bench.config.clone() };
    let dispatcher = connect::connect(config).await?;
    let group = format!("dispatcher-bench-{}", unique());
    let handler = |_: Message| ready(Ok::<(), Infallible>(()));
    let subscribe = dispatcher.subscribe(&bench.topic, handler).group_exact(&group).skip_existing();
    let subscription = subscribe.concurrency(bench.concurrency() as usize).start().await?;
    let done = AtomicU64::new(0);
    let measured = while_it_moves(&done, round_trips(bench, &dispatcher, &done)).await;
    let stopped = subscription.stop().await;
    let _ = dispatcher.delete_group(&group).await;
    if bench.own {
        let _ = dispatcher.remove_topics([format!("{}_Reply", bench.topic)]).await;
    }
    connect::close(dispatcher).await;
    let Some(measured) = measured else {
        let done = done.load(Ordering::Relaxed);
        return Ok(Measured { done, ..Measured::default() });
    };
    stopped?;
    Ok(measured?)
}

async fn round_trips(bench: &Bench, dispatcher: &Dispatcher, done: &AtomicU64) -> Result<Measured> {
    let topic = dispatcher.topic(&bench.topic).await?;
    let payloads = payloads(bench.args.size);
    // It begins at the topic's end, wherever that is when it has joined: probe until it answers.
    while topic.send(&payloads[0]).receipt(PROBE).await.is_err() {}
    let (watch, mut latencies) = (Stopwatch::start(), Vec::with_capacity(bench.messages as usize));
    let (mut under_way, mut next) = (FuturesUnordered::new(), 0);
    while next < bench.messages || !under_way.is_empty() {
        while next < bench.messages && (under_way.len() as u64) < bench.window() {
            let payload = &payloads[next as usize % payloads.len()];
            let began = Instant::now();
            let pending = topic.send(payload).receipt(LIMIT).enqueue().await?;
            under_way.push(async move {
                let receipts = pending.receipts().await;
                receipts.map(|_| began.elapsed())
            });
            next += 1;
        }
        if let Some(took) = under_way.next().await {
            latencies.push(took?.as_secs_f64() * 1e6);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (wall, cpu, done) = (watch.wall(), watch.cpu(), latencies.len() as u64);
    let measured = Measured { done, bytes: done * bench.args.size as u64, wall, cpu, ..Measured::default() };
    Ok(measured.with_latencies(latencies))
}
