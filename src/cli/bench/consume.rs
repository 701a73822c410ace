//! Reads a topic from its beginning as the one member of a new group. Wall time runs from the first message to the
//! last; CPU time from before the client exists.

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::measure::{Measured, Stopwatch, while_it_moves};
use super::{Bench, unique};
use crate::cli::connect;
use crate::cli::exit::Outcome;
use crate::cli::subscribe::of_order;
use crate::{Message, Order};

#[derive(Default)]
struct Counts {
    done: AtomicU64,
    bytes: AtomicU64,
    first: OnceLock<Instant>,
    last: OnceLock<(Instant, Duration)>,
}

pub(super) async fn run(bench: &Bench) -> Outcome<Measured> {
    let watch = Stopwatch::start();
    let dispatcher = bench.connect().await?;
    let counts = Arc::new(Counts::default());
    let messages = bench.messages;
    let handler = {
        let counts = counts.clone();
        move |message: Message| {
            let length = message.value().map_or(0, <[u8]>::len) as u64;
            counts.bytes.fetch_add(length, Ordering::Relaxed);
            let done = counts.done.fetch_add(1, Ordering::Relaxed) + 1;
            if done == 1 {
                let _ = counts.first.set(Instant::now());
            }
            if done == messages {
                let _ = counts.last.set((Instant::now(), watch.cpu()));
            }
            ready(Ok::<(), Infallible>(()))
        }
    };
    let group = format!("dispatcher-bench-{}", unique());
    // Adding up lengths needs no order.
    let subscription = bench
        .furnish(dispatcher.subscribe(&bench.topic, handler))
        .group_exact(&group)
        .order(bench.args.order.map_or(Order::None, of_order))
        .count(messages)
        .start()
        .await?;
    let ended = while_it_moves(&counts.done, subscription.join()).await;
    drop(subscription);
    let (last, cpu) = counts.last.get().copied().unwrap_or_else(|| (Instant::now(), watch.cpu()));
    let _ = dispatcher.delete_group(&group).await;
    connect::close(dispatcher).await;
    if let Some(Err(e)) = ended {
        return Err(e.into());
    }
    let wall = counts.first.get().map_or(Duration::ZERO, |first| last.saturating_duration_since(*first));
    let (done, bytes) = (counts.done.load(Ordering::Relaxed), counts.bytes.load(Ordering::Relaxed));
    Ok(Measured { done, bytes, wall, cpu, ..Measured::default() })
}
