//! A second member joins, and the first one works on with the partitions it keeps: `cargo run --example cooperative`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Assignor, Dispatcher, Error, Result, SubscriptionEvent};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 6).start().await?;
    // Members learn of a rebalance by their heartbeats; every 3 s unless told otherwise.
    let builder = Dispatcher::builder(cluster.brokers()).heartbeat_interval(Duration::from_millis(200));
    let dispatcher = builder.connect().await?;
    let member = async || {
        let brew = async |_order: String| Ok::<(), Error>(());
        let member = dispatcher.subscribe("orders", brew).group("kitchen");
        // Alone in the list: only then a rebalance takes no more than what moves.
        member.assignors([Assignor::CooperativeSticky]).start().await
    };

    let first = member().await?;
    let mut events = first.events();
    let mut owned = 0;
    while owned < 6 {
        if let Some(SubscriptionEvent::Assigned { partitions }) = events.next().await {
            owned += partitions.len();
        }
    }
    println!("the first member has all 6 partitions");

    let second = member().await?;
    let revoked = loop {
        match events.next().await {
            Some(SubscriptionEvent::Revoked { partitions }) => break partitions,
            Some(_) => {}
            None => panic!("it has ended"),
        }
    };
    println!("of these it gives up {revoked:?}, and handles the other 3 without a break");
    assert_eq!(revoked.len(), 3);

    let mut taken = 0;
    let mut events = second.events();
    while taken < 3 {
        if let Some(SubscriptionEvent::Assigned { partitions }) = events.next().await {
            taken += partitions.len();
        }
    }
    println!("the second member has them");
    first.stop().await?;
    second.stop().await?;
    dispatcher.close(Duration::from_secs(10)).await
}
