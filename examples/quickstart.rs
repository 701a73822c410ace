//! The whole way of a message, with nothing to set up: `cargo run --example quickstart`
//!
//! Starts a Kafka cluster inside this process, or uses the one that `KAFKA_BROKERS` names.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Message, Result};

const MESSAGES: u64 = 10_000;

#[tokio::main]
async fn main() -> Result<()> {
    let given = std::env::var("KAFKA_BROKERS").ok();
    // Ends when it goes out of scope.
    let own = match given {
        None => Some(EmbeddedCluster::builder().brokers(3).start().await?),
        Some(_) => None,
    };
    let brokers = given.or_else(|| own.as_ref().map(EmbeddedCluster::bootstrap)).unwrap_or_default();
    let dispatcher = Dispatcher::builder(brokers.split(',')).connect().await?;
    println!("connected to {brokers}");

    // A new topic for each run, so that it starts from nothing: 10 partitions, 3 replicas.
    let topic = format!("quickstart-{}", std::process::id());
    let handled = Arc::new(AtomicU64::new(0));
    let counter = handled.clone();
    // Messages of one customer are handled one after another, those of 32 customers at the same time.
    let handler = move |message: Message| {
        let counter = counter.clone();
        async move {
            if counter.fetch_add(1, Ordering::Relaxed) == 0 {
                println!("first message: {:?}", String::from_utf8_lossy(message.value().unwrap_or_default()));
            }
            if message.value() == Some(b"order 13") { Err("nobody wants order 13") } else { Ok(()) }
        }
    };
    let subscription =
        dispatcher.subscribe(&topic, handler).group("kitchen").concurrency(32).count(MESSAGES).start().await?;
    let mut errors = subscription.errors();

    let started = Instant::now();
    let orders = dispatcher.topic(&topic).await?;
    let mut deliveries = Vec::new();
    for i in 0..MESSAGES {
        deliveries.push(orders.send(format!("order {i}")).key(format!("customer-{}", i % 100)).enqueue().await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    println!("{MESSAGES} messages acknowledged after {:.2?}", started.elapsed());

    // Ends by itself when the last message is handled and committed.
    subscription.join().await?;
    println!("{} messages handled after {:.2?}", handled.load(Ordering::Relaxed), started.elapsed());
    while let Some(failure) = errors.next().await {
        println!("one failed, at offset {:?}: {}", failure.offset(), failure.error());
    }
    let status = dispatcher.consume_status(&topic, "kitchen").await?;
    println!("group {} has a lag of {}", status.group().unwrap_or_default(), status.total_lag());
    assert_eq!(status.total_lag(), 0);

    dispatcher.remove_topics([&topic]).await?;
    dispatcher.close(Duration::from_secs(10)).await
}
