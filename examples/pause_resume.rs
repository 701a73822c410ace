//! A subscription rests for a while and stays a member of its group: `cargo run --example pause_resume`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 4).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
    let handled = Arc::new(AtomicU64::new(0));
    let counter = handled.clone();
    let brew = move |_order: String| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok::<(), Error>(()) }
    };
    let kitchen = dispatcher.subscribe("orders", brew).group("kitchen");
    let kitchen = kitchen.commit_interval(Duration::from_millis(100)).start().await?;
    let until = async |count| {
        while handled.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };

    dispatcher.send("orders", "one espresso").await?;
    until(1).await;

    kitchen.pause();
    for n in 0..100 {
        dispatcher.send("orders", format!("order {n}")).await?;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = dispatcher.consume_status("orders", "kitchen").await?;
    println!("paused: {} orders wait, {} member is in the group", status.total_lag(), status.members().len());
    assert_eq!((status.total_lag(), status.members().len()), (100, 1));

    kitchen.resume();
    until(101).await;
    println!("resumed: all are handled");
    kitchen.stop().await?;
    assert_eq!(dispatcher.consume_status("orders", "kitchen").await?.total_lag(), 0);
    dispatcher.close(Duration::from_secs(10)).await
}
