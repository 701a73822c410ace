//! Sends messages to a topic of your cluster:
//! `KAFKA_BROKERS=localhost:9092 cargo run --example producer`

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::{Dispatcher, ErrorKind, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let brokers = std::env::var("KAFKA_BROKERS").unwrap_or_else(|_| "localhost:9092".into());
    // Made on first use: 10 partitions. One replica, so that a single broker will do.
    let dispatcher = Dispatcher::builder(brokers.split(',')).client_id("example").replicas(1).connect().await?;

    // Awaited, a send resolves when all in-sync replicas have the message.
    let report = dispatcher.send("orders", "one espresso").key("table-4").await?;
    println!("stored at {}-{} offset {:?}, id {:?}", report.topic(), report.partition(), report.offset(), report.id());

    // Many at once: each has its place in the order when enqueue() returns, and travels in a batch with its neighbours.
    let orders = dispatcher.topic("orders").await?;
    let mut deliveries = Vec::new();
    for i in 0..1_000 {
        let order = format!("order {i}");
        deliveries.push(orders.send(&order).key(format!("table-{}", i % 10)).enqueue().await?);
    }
    for delivery in deliveries {
        match delivery.await {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::MaybeWritten => println!("may or may not be stored: {e}"),
            Err(e) => println!("not stored: {e}"),
        }
    }

    // All messages of a topic in one order, with a header; and a tombstone.
    orders.send("closing time").ensure_order().header("from", "the boss").await?;
    orders.send(None::<&str>).key("table-4").await?;

    println!("all sent");
    dispatcher.close(Duration::from_secs(10)).await
}
