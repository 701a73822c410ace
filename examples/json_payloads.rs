//! Handlers take their own type, and what does not fit is a failure with a reason: `cargo run --example json_payloads`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Json, Message, Result};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    drink: String,
    cups: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = EmbeddedCluster::builder().topic("orders", 4).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
    for (drink, cups) in [("espresso", 1), ("tea", 2)] {
        let order = Order { drink: drink.into(), cups };
        dispatcher.send("orders", serde_json::to_vec(&order)?).header("content-type", "application/json").await?;
    }
    dispatcher.send("orders", r#"{"drink":"cake"}"#).await?;

    let cups = Arc::new(AtomicU32::new(0));
    let total = cups.clone();
    // The message beside it, for its headers, key, id or offset; `Json(order): Json<Order>` alone does too.
    let brew = move |(Json(order), message): (Json<Order>, Message)| {
        total.fetch_add(order.cups, Ordering::Relaxed);
        println!("{order:?}, {:?}", message.header("content-type").map(String::from_utf8_lossy));
        async { Ok::<(), Error>(()) }
    };
    let kitchen = dispatcher.subscribe("orders", brew).group("kitchen").until_end().start().await?;
    kitchen.join().await?;
    assert_eq!(cups.load(Ordering::Relaxed), 3);

    let failure = kitchen.errors().next().await.ok_or("one should have failed")?;
    let mut reason: &dyn std::error::Error = failure.error();
    while let Some(source) = reason.source() {
        reason = source;
    }
    println!("offset {:?}: {reason}", failure.offset());
    assert!(reason.to_string().contains("cups"));
    dispatcher.close(Duration::from_secs(10)).await?;
    Ok(())
}
