//! The whole way of a message, with nothing to set up: `cargo run --example quickstart`
//!
//! Starts a real Kafka broker for itself (from a Docker daemon if there is one, else from Apache Kafka's jars, which
//! needs Java 17 and Maven), or uses the cluster that `KAFKA_BROKERS` names.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dispatcher::{Dispatcher, Message, Result};
use dispatcher_testcontainers::Kafka;

const MESSAGES: u64 = 10_000;

#[tokio::main]
async fn main() -> Result<()> {
    let given = std::env::var("KAFKA_BROKERS").ok();
    // Stopped and cleaned up when it goes out of scope.
    let own = if given.is_some() { None } else { Some(start_broker()) };
    let brokers = given.or_else(|| own.as_ref().map(Kafka::bootstrap)).unwrap_or_default();

    let dispatcher = Dispatcher::builder(brokers.split(',')).replicas(1).connect().await?;
    println!("connected to {brokers}");

    // A new topic for each run, so that it starts from nothing.
    let topic = format!("quickstart-{}", std::process::id());
    let handled = Arc::new(AtomicU64::new(0));
    let subscription = {
        let handled = handled.clone();
        let handler = move |message: Message| {
            let handled = handled.clone();
            async move {
                if handled.fetch_add(1, Ordering::Relaxed) == 0 {
                    println!("first message: {:?}", String::from_utf8_lossy(message.value().unwrap_or_default()));
                }
                Ok::<(), dispatcher::Error>(())
            }
        };
        dispatcher.subscribe(&topic, handler).group("quickstart").concurrency(32).count(MESSAGES).start().await?
    };

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
    let status = dispatcher.consume_status(&topic, "quickstart").await?;
    println!("group {} has a lag of {}", status.group().unwrap_or_default(), status.total_lag());

    dispatcher.remove_topics([&topic]).await?;
    dispatcher.close(Duration::from_secs(10)).await
}

fn start_broker() -> Kafka {
    println!("starting a broker …");
    Kafka::builder().start().unwrap_or_else(|why| {
        eprintln!("error: no broker can be started here: {why}: set KAFKA_BROKERS to a cluster of yours");
        std::process::exit(1)
    })
}
