//! Handles messages that each take a while, concurrently: from the first one handed out until all are handled and
//! committed.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::measure::{Measured, Stopwatch, while_it_moves};
use super::{Bench, unique};
use crate::Message;
use crate::cli::connect;
use crate::cli::exit::Outcome;
use crate::cli::subscribe::of_order;

#[derive(Default)]
struct Counts {
    done: AtomicU64,
    bytes: AtomicU64,
    first: OnceLock<Stopwatch>,
}

pub(super) async fn run(bench: &Bench) -> Outcome<Measured> {
    let dispatcher = bench.connect().await?;
    let counts = Arc::new(Counts::default());
    let (shortest, longest) = bench.args.work;
    let handler = {
        let counts = counts.clone();
        move |message: Message| {
            counts.first.get_or_init(Stopwatch::start);
            let counts = counts.clone();
            async move {
                let span = (longest - shortest).as_nanos() as u64;
                let work = shortest + Duration::from_nanos(fastrand::u64(0..=span));
                if !work.is_zero() {
                    tokio::time::sleep(work).await;
                }
                counts.bytes.fetch_add(message.value().map_or(0, <[u8]>::len) as u64, Ordering::Relaxed);
                counts.done.fetch_add(1, Ordering::Relaxed);
                Ok::<(), Infallible>(())
            }
        }
    };
    let group = format!("dispatcher-bench-{}", unique());
    let mut subscribe =
        bench.furnish(dispatcher.subscribe(&bench.topic, handler)).group_exact(&group).count(bench.messages);
    if let Some(order) = bench.args.order {
        subscribe = subscribe.order(of_order(order));
    }
    let subscription = subscribe.start().await?;
    // It ends by itself when the last one is handled and all are committed.
    let ended = while_it_moves(&counts.done, subscription.join()).await;
    let (wall, cpu) = counts.first.get().map_or_else(Default::default, |watch| (watch.wall(), watch.cpu()));
    drop(subscription);
    let _ = dispatcher.delete_group(&group).await;
    connect::close(dispatcher).await;
    if let Some(Err(e)) = ended {
        return Err(e.into());
    }
    let (done, bytes) = (counts.done.load(Ordering::Relaxed), counts.bytes.load(Ordering::Relaxed));
    Ok(Measured { done, bytes, wall, cpu, ..Measured::default() })
}
