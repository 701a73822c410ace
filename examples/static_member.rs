//! A member that restarts under its name gets its partitions back, and nobody else is disturbed:
//! `cargo run --example static_member`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, GroupMember, Result, SubscriptionEvent};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 4).start().await?;
    // Members learn of a rebalance by their heartbeats; every 3 s unless told otherwise.
    let builder = Dispatcher::builder(cluster.brokers()).heartbeat_interval(Duration::from_millis(200));
    let dispatcher = builder.connect().await?;
    let member = async |name: &str| {
        let brew = async |_order: String| Ok::<(), Error>(());
        let member = dispatcher.subscribe("orders", brew).group("kitchen").instance_id(name);
        member.session_timeout(Duration::from_secs(20)).start().await
    };
    // Which instance owns how many partitions.
    let shares = async || {
        let status = dispatcher.consume_status("orders", "kitchen").await?;
        let share = |m: &GroupMember| (m.instance_id().unwrap_or_default().to_owned(), m.partitions().to_vec());
        let mut shares: Vec<_> = status.members().iter().map(share).collect();
        shares.sort();
        Ok::<_, Error>(shares)
    };

    let anna = member("anna").await?;
    let until = async |sizes: &[usize]| loop {
        let shares = shares().await?;
        if shares.iter().map(|(_, partitions)| partitions.len()).eq(sizes.iter().copied()) {
            return Ok::<_, Error>(shares);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    until(&[4]).await?;
    let bert = member("bert").await?;
    let before = until(&[2, 2]).await?;
    println!("{before:?}");

    // A static member does not leave when it stops: for the session time-out its place is kept.
    anna.stop().await?;
    assert_eq!(shares().await?, before);
    let anna = member("anna").await?;
    let mut events = anna.events();
    while !matches!(events.next().await, Some(SubscriptionEvent::Assigned { .. })) {}
    println!("anna is back, and bert has noticed nothing");
    assert_eq!(shares().await?, before);

    let mut events = bert.events();
    anna.stop().await?;
    bert.stop().await?;
    let mut rebalances = 0;
    while let Some(event) = events.next().await {
        rebalances += usize::from(matches!(event, SubscriptionEvent::Assigned { .. }));
    }
    assert_eq!(rebalances, 1, "when it joined itself");
    dispatcher.close(Duration::from_secs(10)).await
}
