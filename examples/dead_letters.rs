//! Messages that fail are tried again in place, then once more after a while from a retry topic, and end as dead
//! letters with their cause: `cargo run --example dead_letters`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Message, OnFailure, Result, RetryPolicy};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 4).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;

    let policy = RetryPolicy::new(2)
        .backoff(Duration::from_millis(50), Duration::from_secs(1))
        .through_topics([Duration::from_secs(2)])
        .dead_letter("orders.dead");
    let orders = dispatcher
        .subscribe("orders", async |message: Message| {
            println!("attempt {} at {:?}, from {}", message.attempt(), message.value_bytes(), message.topic());
            match message.value() {
                Some(b"spoilt") => Err("no such product"),
                // The warehouse is closed for a moment.
                Some(b"early") if message.attempt() < 4 => Err("the warehouse does not answer"),
                _ => Ok(()),
            }
        })
        .group("billing")
        .concurrency(8)
        .on_failure(OnFailure::Retry(policy))
        .start()
        .await?;

    for order in ["fine", "early", "spoilt"] {
        dispatcher.send("orders", order).key("customer-7").await?;
    }

    // Dead letters are a topic as others are.
    let dead = dispatcher
        .subscribe("orders.dead", async |message: Message| {
            if let Some(origin) = message.origin() {
                let place = format!("{}-{} offset {}", origin.topic(), origin.partition(), origin.offset());
                println!(
                    "{place} is dead after {} attempts: {}",
                    origin.attempts(),
                    origin.error().unwrap_or_default()
                );
            }
            Ok::<(), Error>(())
        })
        .group("undertaker")
        .count(1)
        .start()
        .await?;
    dead.join().await?;
    orders.stop().await?;
    dispatcher.close(Duration::from_secs(10)).await
}
