//! How far a group has got, partition by partition, and how to set it back: `cargo run --example consume_status`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, ResetTo, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 3).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
    let lag = async || {
        let status = dispatcher.consume_status("orders", "kitchen").await?;
        let (group, state) = (status.group().unwrap_or_default(), status.state().unwrap_or_default());
        println!("group {group} is {state} and has {} messages to go", status.total_lag());
        for partition in status.partitions() {
            let (number, committed) = (partition.partition(), partition.committed());
            println!("  partition {number}: {committed:?} of {}", partition.log_end());
        }
        Ok::<_, Error>(status.total_lag())
    };

    for n in 0..30 {
        dispatcher.send("orders", format!("order {n}")).partition(n % 3).await?;
    }
    assert_eq!(lag().await?, 30, "all of it: the group has never been there");

    let brew = async |_order: String| Ok::<(), Error>(());
    let kitchen = || dispatcher.subscribe("orders", brew).group("kitchen");
    kitchen().count(12).start().await?.join().await?;
    assert_eq!(lag().await?, 18);
    kitchen().until_end().start().await?.join().await?;
    assert_eq!(lag().await?, 0);

    // While nobody is in it, a group can be sent back to the beginning, or elsewhere.
    dispatcher.reset_group("kitchen:orders", "orders", ResetTo::Oldest).await?;
    assert_eq!(lag().await?, 30);
    dispatcher.close(Duration::from_secs(10)).await
}
