//! One workload of some size in a process of its own, for `benches/scale.py`, which says what and on which cluster:
//! `scaling BROKERS WORKLOAD name=value…`. Prints one line of JSON: what was done, CPU seconds, the most memory, what it costs
//! to stop, and with `idle=SECONDS` what it costs to wait for more; commits are in the CPU seconds then. Fails if anything is missing after a minute without progress.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use dispatcher::{Dispatcher, Envelope, Message, Order, Subscription};

/// Bytes sent and not acknowledged.
const WINDOW: usize = 32 << 20;
const GIVE_UP: Duration = Duration::from_secs(60);

struct Arguments(BTreeMap<String, String>);

impl Arguments {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("{name}= is missing"))
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).map_or(default, |text| text.parse().unwrap())
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (brokers, workload) = (arguments.next().unwrap(), arguments.next().unwrap());
    let pairs = arguments.map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap());
    let arguments = Arguments(pairs.collect());
    let builder = Dispatcher::builder(brokers.split(',')).envelope(Envelope::Raw).create_topics(false);
    let dispatcher = builder.linger(Duration::from_millis(5)).connect().await.unwrap();
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    let (done, subscriptions) = match workload.as_str() {
        "produce" => (produce(&dispatcher, &arguments).await, Vec::new()),
        "consume" => consume(&dispatcher, &arguments).await,
        other => panic!("no workload {other}"),
    };
    let (wall, mut used, mut idle) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64(), 0.0);
    if let seconds @ 1.. = arguments.number("idle", 0) {
        // Commits and the last metadata requests are over by then.
        tokio::time::sleep(Duration::from_secs(3)).await;
        used = cpu.elapsed().as_secs_f64();
        let cpu = ProcessTime::now();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        idle = cpu.elapsed().as_secs_f64() / seconds as f64;
    }
    let (now, peak) = (memory("VmRSS:"), memory("VmHWM:"));
    let stopping = ProcessTime::now();
    futures_util::future::join_all(subscriptions.iter().map(Subscription::stop)).await;
    let stop = stopping.elapsed().as_secs_f64();
    println!(
        "{{\"done\":{done},\"wall_s\":{wall},\"cpu_s\":{used},\"idle_cpu\":{idle},\"rss_mb\":{now},\"peak_mb\":{peak},\
         \"stop_cpu_s\":{stop}}}"
    );
}

async fn produce(dispatcher: &Dispatcher, arguments: &Arguments) -> u64 {
    let (count, size) = (arguments.number("count", 1), arguments.number("size", 100) as usize);
    let topic = dispatcher.topic(arguments.text("topic")).await.unwrap();
    let partitions = topic.partitions() as u64;
    let value: Vec<u8> = (0..size).map(|i| b'0' + (i * 7 % 31 % 10) as u8).collect();
    let window = (WINDOW / (size + 20)).clamp(2, 100_000);
    let mut pending = VecDeque::with_capacity(window + 1);
    for i in 0..count {
        let message = topic.send(&value[..]).partition((i % partitions) as i32);
        pending.push_back(message.enqueue().await.unwrap());
        if pending.len() > window {
            pending.pop_front().unwrap().await.unwrap();
        }
    }
    for delivery in pending {
        delivery.await.unwrap();
    }
    count
}

/// `count` messages to each of `subscriptions` groups, each handler sleeping for `work_ms`.
async fn consume(dispatcher: &Dispatcher, arguments: &Arguments) -> (u64, Vec<Subscription>) {
    let (count, groups) = (arguments.number("count", 1), arguments.number("subscriptions", 1));
    let (concurrency, work) = (arguments.number("concurrency", 1), arguments.number("work_ms", 0));
    let done = Arc::new(AtomicU64::new(0));
    let run = format!("{:x}", std::process::id());
    let start = async |number: u64| {
        let (done, work) = (done.clone(), Duration::from_millis(work));
        let handler = move |_: Message| {
            let done = done.clone();
            async move {
                if !work.is_zero() {
                    tokio::time::sleep(work).await;
                }
                done.fetch_add(1, Ordering::Relaxed);
                Ok::<(), Infallible>(())
            }
        };
        let subscribe = dispatcher.subscribe(arguments.text("topic"), handler).group_exact(format!("{run}-{number}"));
        let subscribe = subscribe.concurrency(concurrency as usize).order(Order::None).max_held(1_000_000);
        subscribe.start().await.unwrap()
    };
    let subscriptions = futures_util::future::join_all((0..groups).map(start)).await;
    let (mut last, mut since) = (0, Instant::now());
    while last < count * groups {
        assert!(since.elapsed() < GIVE_UP, "{last} of {} messages were handled", count * groups);
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = done.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    (last, subscriptions)
}

/// In MB.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or_default() * 1024.0 / 1e6
}
