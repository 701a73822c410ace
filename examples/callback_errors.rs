//! A handler fails, and the message's sender and a service that looks after the topic hear of it:
//! `cargo run --example callback_errors`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 4).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).replicas(1).connect().await?;

    // All failures of a topic's handlers, from now on.
    let mut failures = dispatcher.callback_errors("orders").await?;

    let brew = async |order: String| if order.contains("decaf") { Err("no such thing here") } else { Ok(()) };
    let kitchen = dispatcher.subscribe("orders", brew).group("kitchen");
    // Not only for senders that watch.
    let kitchen = kitchen.publish_errors(true).start().await?;

    // This sender watches its own message.
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let watch = move |failure: dispatcher::CallbackError| {
        let _nobody_waits = tell.send(failure.to_string());
        std::future::ready(())
    };
    dispatcher.send("orders", "one espresso").watch_errors(watch.clone()).await?;
    dispatcher.send("orders", "a decaf").key("table-4").watch_errors(watch).await?;
    dispatcher.send("orders", "another decaf").await?;

    let heard = told.recv().await.unwrap_or_default();
    println!("the sender hears: {heard}");
    assert!(heard.ends_with("no such thing here"));

    let mut orders = Vec::new();
    for _ in 0..2 {
        let failure = failures.next().await;
        orders.push(String::from_utf8_lossy(failure.value().unwrap_or_default()).into_owned());
        println!("the service hears of {:?}: {}", orders.last(), failure.error());
    }
    orders.sort();
    assert_eq!(orders, ["a decaf", "another decaf"]);

    kitchen.stop().await?;
    dispatcher.close(Duration::from_secs(10)).await
}
