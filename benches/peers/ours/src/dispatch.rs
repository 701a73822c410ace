//! p4: handlers that sleep, many at once. Beside the time it took it prints the least it could have taken: what the
//! handlers of this very run were to sleep, divided by `concurrency`, summed up by key, or in all. They sleep by async-io's
//! timer, since tokio's has steps of a millisecond.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use dispatcher::{Dispatcher, Error, Message, Order};
use serde_json::json;

use super::{Asked, Outcome};

struct Seen {
    first: OnceLock<Instant>,
    last: OnceLock<Instant>,
    done: AtomicU64,
    /// How often each offset was handled.
    times: Vec<AtomicU32>,
    /// To be slept, in ns: by key, or in the one entry.
    asked: Vec<AtomicU64>,
    /// Slept, in ns, as measured.
    slept: AtomicU64,
}

pub(super) async fn run(asked: &Asked) -> Outcome {
    let (count, longest) = (asked.number("count")?, asked.number("sleep_max_us")? as u64);
    let (keys, concurrency) = (asked.number("keys")?, asked.number("concurrency")?);
    let order = match asked.text("ordering")? {
        "key" => Order::Key,
        "partition" => Order::Partition,
        _ => Order::None,
    };
    let seen = Arc::new(Seen {
        first: OnceLock::new(),
        last: OnceLock::new(),
        done: AtomicU64::new(0),
        times: (0..count).map(|_| AtomicU32::new(0)).collect(),
        asked: (0..keys.max(1)).map(|_| AtomicU64::new(0)).collect(),
        slept: AtomicU64::new(0),
    });
    let handler = {
        let seen = seen.clone();
        move |message: Message| {
            let seen = seen.clone();
            async move {
                let began = *seen.first.get_or_init(Instant::now);
                if longest > 0 {
                    let (since, time) = (Instant::now(), Duration::from_micros(fastrand::u64(0..=longest)));
                    async_io::Timer::after(time).await;
                    seen.slept.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
                    let key =
                        message.key().and_then(|key| std::str::from_utf8(key).ok()?.strip_prefix('k')?.parse().ok());
                    if let Some(asked) = seen.asked.get(key.unwrap_or(0)) {
                        asked.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
                    }
                }
                if let Some(times) = usize::try_from(message.offset()).ok().and_then(|at| seen.times.get(at)) {
                    times.fetch_add(1, Ordering::Relaxed);
                }
                if seen.done.fetch_add(1, Ordering::Relaxed) + 1 == count as u64 {
                    let _ = seen.last.set(Instant::now().max(began));
                }
                Ok::<(), Error>(())
            }
        }
    };
    let (started, cpu) = (Instant::now(), ProcessTime::try_now()?);
    let dispatcher = Dispatcher::builder(asked.brokers()?).connect().await?;
    // It ends by itself when all are handled and committed.
    let subscription = dispatcher
        .subscribe(asked.text("topic")?, handler)
        .group_exact(asked.text("group")?)
        .concurrency(concurrency)
        .order(order)
        .count(count as u64)
        .start()
        .await?;
    tokio::time::timeout(Duration::from_secs(170), subscription.join()).await??;
    let (wall, cpu) = (started.elapsed(), cpu.try_elapsed()?);
    let (Some(first), Some(last)) = (seen.first.get(), seen.last.get()) else {
        return Err("nothing was handled".into());
    };
    let dispatch = last.duration_since(*first).as_secs_f64();
    let seconds = |ns: u64| ns as f64 / 1e9;
    let asked = |by: fn(u64, u64) -> u64| {
        seconds(seen.asked.iter().map(|ns| ns.load(Ordering::Relaxed)).reduce(by).unwrap_or(0))
    };
    let (all, longest_key) = (asked(|a, b| a + b), asked(u64::max));
    let bound = match order {
        Order::None => all / concurrency as f64,
        Order::Key => longest_key.max(all / concurrency as f64),
        _ => all,
    };
    let once = seen.times.iter().all(|times| times.load(Ordering::Relaxed) == 1);
    println!(
        "{}",
        json!({
            "ok": once && seen.done.load(Ordering::Relaxed) == count as u64, "wall_s": wall.as_secs_f64(),
            "first_record_s": first.duration_since(started).as_secs_f64(), "dispatch_s": dispatch,
            "dispatch_per_s": count as f64 / dispatch, "work_s": seconds(seen.slept.load(Ordering::Relaxed)), "bound_s": bound,
            "cpu_s_per_1m": cpu.as_secs_f64() * 1e6 / count as f64, "max_rss_mb": max_rss_mb(),
        })
    );
    Ok(())
}

/// The most memory this process has had at once.
fn max_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}
