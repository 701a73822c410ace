//! Allocations per message through the public interface. Counted is this thread, on which the whole client runs; the
//! brokers are in another one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Envelope, Message, Order, Topic};
use tokio::runtime::{Builder, Runtime};

use super::baseline::Row;

/// Messages in one count.
const MESSAGES: u64 = 100_000;
/// Sent and not acknowledged.
const WINDOW: usize = 10_000;

pub(crate) fn rows() -> Vec<Row> {
    let brokers = brokers();
    let runtime = runtime();
    let row = |part: &str, allocations: f64| Row {
        part: part.to_owned(),
        per: "message".into(),
        instructions: None,
        allocations,
    };
    let mut rows = Vec::new();
    for (name, envelope) in [("raw", Envelope::Raw), ("with id and time", Envelope::default())] {
        let topic = runtime.block_on(topic(&brokers, envelope));
        rows.push(row(&format!("send: enqueue, {name}"), enqueued(&runtime, &topic)));
        rows.push(row(&format!("send: to the acknowledgement, {name}"), acknowledged(&runtime, &topic)));
    }
    for (name, order) in [("no order", Order::None), ("by key", Order::Key), ("by partition", Order::Partition)] {
        rows.push(row(&format!("handle: from fetch to the end, {name}"), handled(&runtime, &brokers, order)));
    }
    rows
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A cluster that lives as long as the program.
fn brokers() -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let cluster = EmbeddedCluster::builder().topic("counts", 4).start().await.unwrap();
            tell.send(cluster.bootstrap()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    told.recv().unwrap()
}

async fn topic(brokers: &str, envelope: Envelope) -> Topic {
    let builder = Dispatcher::builder([brokers]).envelope(envelope).linger(Duration::from_millis(5));
    builder.connect().await.unwrap().topic("counts").await.unwrap()
}

/// Allocations while some work is done on this thread.
fn count(runtime: &Runtime, work: impl Future<Output = ()>) -> f64 {
    allocation_counter::measure(|| runtime.block_on(work)).count_total as f64
}

/// A message's way into its open batch. Nothing else runs meanwhile: `enqueue` has nothing to wait for.
fn enqueued(runtime: &Runtime, topic: &Topic) -> f64 {
    const BURST: u64 = 1_000;
    let mut deliveries = Vec::with_capacity(BURST as usize + 100);
    let enqueue = async |deliveries: &mut Vec<_>, n: u64| {
        for i in 0..n {
            let value = VALUE;
            deliveries.push(topic.send(value).key("customer").partition((i & 3) as i32).enqueue().await.unwrap());
        }
    };
    // Opens the batches, whose memory is used again.
    runtime.block_on(send(topic, MESSAGES));
    runtime.block_on(enqueue(&mut deliveries, 100));
    let allocations = count(runtime, enqueue(&mut deliveries, BURST));
    runtime.block_on(async {
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    });
    allocations / BURST as f64
}

const VALUE: &[u8] = &[b'x'; 100];

async fn send(topic: &Topic, n: u64) {
    let mut window = VecDeque::with_capacity(WINDOW + 1);
    for i in 0..n {
        // In a few keys, for those who order by them.
        const KEYS: [&str; 4] = ["one", "two", "three", "four"];
        let message = topic.send(VALUE).key(KEYS[(i / 4 % 4) as usize]).partition((i % 4) as i32);
        window.push_back(message.enqueue().await.unwrap());
        if window.len() > WINDOW {
            window.pop_front().unwrap().await.unwrap();
        }
    }
    for delivery in window {
        delivery.await.unwrap();
    }
}

/// All that is done for a message in the client until it is acknowledged.
fn acknowledged(runtime: &Runtime, topic: &Topic) -> f64 {
    count(runtime, send(topic, MESSAGES)) / MESSAGES as f64
}

/// From the bytes that arrive to the end of a handler that is ready at once, commits included: what a longer run
/// allocates more than a shorter one.
fn handled(runtime: &Runtime, brokers: &str, order: Order) -> f64 {
    let read = |n: u64| count(runtime, handle(brokers, order, n));
    read(1_000);
    let (short, long) = (read(MESSAGES), read(3 * MESSAGES));
    (long - short).max(0.0) / (2 * MESSAGES) as f64
}

async fn handle(brokers: &str, order: Order, n: u64) {
    let dispatcher = Dispatcher::builder([brokers]).connect().await.unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let counting = seen.clone();
    let handler = move |message: Message| {
        counting.fetch_add(u64::from(message.value().is_some()), Ordering::Relaxed);
        std::future::ready(Ok::<(), std::convert::Infallible>(()))
    };
    let group = format!("counts-{order:?}-{n}");
    let subscription = dispatcher
        .subscribe("counts", handler)
        .group(group)
        .concurrency(64)
        .order(order)
        .count(n)
        .start()
        .await
        .unwrap();
    subscription.join().await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), n);
}
