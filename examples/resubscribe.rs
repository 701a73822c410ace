//! A service that starts before its cluster does, and outlives it: `cargo run --example resubscribe`
//!
//! Starts a Kafka cluster inside this process, in virtual time: the hours that pass take no time.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Result};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 2).seed(7).start().await?;
    cluster.stop_broker(1);

    // Connects when it can.
    let builder = Dispatcher::builder(cluster.brokers()).network(&cluster.network());
    let dispatcher = builder.connect_lazily()?;
    let (handled, mut orders) = tokio::sync::mpsc::unbounded_channel();
    let brew = move |order: String| {
        let _nobody_waits = handled.send(order);
        async { Ok::<(), Error>(()) }
    };
    // Gives up after 10,000 failures in a row; waits up to a minute between two tries.
    let kept = dispatcher
        .subscribe("orders", brew)
        .group("kitchen")
        .resubscribe(10_000, |failures| Duration::from_secs(failures.min(60).into()))
        .start()?;

    tokio::time::sleep(2 * HOUR).await;
    let failure = kept.errors().next().await;
    println!("after two hours it still tries: {}", failure.map(|f| f.error().to_string()).unwrap_or_default());
    assert!(!kept.is_ended());

    cluster.start_broker(1).await?;
    dispatcher.send("orders", "one espresso").await?;
    println!("the cluster is there, and so is {:?}", orders.recv().await);

    cluster.stop_broker(1);
    tokio::time::sleep(HOUR).await;
    cluster.start_broker(1).await?;
    dispatcher.send("orders", "another one").await?;
    let order = orders.recv().await;
    println!("an hour's outage later: {order:?}");
    assert_eq!(order.as_deref(), Some("another one"));

    kept.stop().await?;
    dispatcher.close(Duration::from_secs(10)).await
}
