//! How a group keeps up, told every second: `cargo run --example monitor_lag`
//!
//! Starts a Kafka cluster inside this process, or uses the one that `KAFKA_BROKERS` names.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Result};

const MESSAGES: u64 = 400;

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

    let topic = format!("monitor-lag-{}", std::process::id());
    let orders = dispatcher.topic(&topic).await?;
    for i in 0..MESSAGES {
        let _delivery = orders.send(format!("order {i}")).enqueue().await?;
    }
    dispatcher.flush().await;

    let handler = async |_order: String| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<(), Error>(())
    };
    let subscription = dispatcher
        .subscribe(&topic, handler)
        .group("kitchen")
        .count(MESSAGES)
        // The member's own view of its group: at once, and then every second.
        .monitor_lag(Duration::from_secs(1), async |status| {
            println!("the kitchen is {} orders behind, {:?}", status.total_lag(), status.state());
        })
        .start()
        .await?;
    subscription.join().await?;

    // Anyone's view of any group.
    let mut lag = dispatcher.monitor_lag(&topic, "kitchen", Duration::from_secs(1))?;
    let status = lag.next().await?;
    println!("in the end it is {} orders behind", status.total_lag());
    assert_eq!(status.total_lag(), 0);
    dispatcher.remove_topics([topic.as_str()]).await
}
