//! What comes and goes in a subscription's life, and a handler that stands still: `cargo run --example events`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Result, SubscriptionEvent};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 2).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
    let brew = async |order: String| {
        tokio::time::sleep(Duration::from_millis(if order == "a slow one" { 600 } else { 1 })).await;
        Ok::<(), Error>(())
    };
    let kitchen = dispatcher.subscribe("orders", brew).group("kitchen");
    // Looked for with each commit.
    let kitchen = kitchen.commit_interval(Duration::from_millis(50)).stall_after(Duration::from_millis(200));
    let kitchen = kitchen.start().await?;
    let mut events = kitchen.events();
    dispatcher.send("orders", "a slow one").partition(1).await?;

    let (mut assigned, mut caught_up, mut stalled) = (0, 0, false);
    while assigned < 2 || caught_up < 2 || !stalled {
        match events.next().await {
            Some(SubscriptionEvent::Assigned { partitions }) => {
                println!("ours from now on: {partitions:?}");
                assigned += partitions.len();
            }
            Some(SubscriptionEvent::CaughtUp { topic, partition, .. }) => {
                println!("caught up with {topic}-{partition}");
                caught_up += 1;
            }
            Some(SubscriptionEvent::Stalled { topic, partition, offset, running_for }) => {
                println!("the handler of {topic}-{partition} offset {offset} has been running for {running_for:.0?}");
                stalled = true;
            }
            Some(other) => println!("{other:?}"),
            None => break,
        }
    }
    assert!(stalled);

    kitchen.stop().await?;
    let mut revoked = 0;
    while let Some(event) = events.next().await {
        if let SubscriptionEvent::Revoked { partitions } = event {
            println!("given back: {partitions:?}");
            revoked += partitions.len();
        }
    }
    println!("{revoked} partitions were given back at the end");
    dispatcher.close(Duration::from_secs(10)).await
}
