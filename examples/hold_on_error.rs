//! A failed message is not committed, nor passed by a later one: after a restart it comes again, and it alone:
//! `cargo run --example hold_on_error`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 1).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
    for order in ["one espresso", "two teas", "three cakes"] {
        dispatcher.send("orders", order).await?;
    }

    let kettle_works = Arc::new(AtomicBool::new(false));
    let (handled, mut orders) = tokio::sync::mpsc::unbounded_channel();
    let kitchen = || {
        let (handled, kettle_works) = (handled.clone(), kettle_works.clone());
        let brew = move |order: String| {
            let fails = order.contains("tea") && !kettle_works.load(Ordering::Relaxed);
            let _nobody_waits = handled.send(order);
            std::future::ready(if fails { Err("the kettle is broken") } else { Ok(()) })
        };
        dispatcher.subscribe("orders", brew).group("kitchen").hold_on_error().until_end().start()
    };

    let subscription = kitchen().await?;
    subscription.join().await?;
    let failure = subscription.errors().next().await;
    println!("offset {:?} failed", failure.and_then(|failure| failure.offset()));
    let committed = cluster.committed("kitchen:orders", "orders", 0);
    println!("all three were tried, and committed is offset {committed:?}");
    assert_eq!(committed, Some(1), "not past the failed one");

    kettle_works.store(true, Ordering::Relaxed);
    kitchen().await?.join().await?;
    assert_eq!(cluster.committed("kitchen:orders", "orders", 0), Some(3));

    let mut all = Vec::new();
    while let Ok(order) = orders.try_recv() {
        all.push(order);
    }
    println!("the handlers got {all:?}");
    assert_eq!(all, ["one espresso", "two teas", "three cakes", "two teas"]);
    dispatcher.close(Duration::from_secs(10)).await
}
