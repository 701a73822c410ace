//! A sender learns what became of its message, when a consumer's handler has ended with it: `cargo run --example receipts`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, ErrorKind, Outcome, Result};

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 4).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).replicas(1).connect().await?;

    let brew = async |order: String| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if order == "a decaf" { Err("no such thing here") } else { Ok(()) }
    };
    let kitchen = dispatcher.subscribe("orders", brew).group("kitchen").concurrency(32).start().await?;

    let receipt = dispatcher.send("orders", "one espresso").receipt(LIMIT).await?;
    assert_eq!(receipt.outcome(), &Outcome::Ok);
    println!("{} has handled {} within {} ms", receipt.group(), receipt.id(), receipt.receipt_ms() - receipt.sent_ms());

    let receipt = dispatcher.send("orders", "a decaf").receipt(LIMIT).await?;
    assert_eq!(receipt.outcome(), &Outcome::Failed("no such thing here".into()));
    println!("{} says: {:?}", receipt.group(), receipt.outcome());

    // Many at once; each gets its own.
    let mut pending = Vec::new();
    for n in 0..100 {
        pending.push(dispatcher.send("orders", format!("order {n}")).receipt(LIMIT).enqueue().await?);
    }
    for pending in pending {
        let id = pending.id().to_owned();
        assert_eq!(pending.receipts().await?[0].id(), id);
    }
    println!("100 more are handled");

    // Nobody is there any more: the error says what is known of the message.
    kitchen.stop().await?;
    let late = dispatcher.send("orders", "a late one").receipt(Duration::from_millis(200)).await;
    let error = late.expect_err("no consumer runs");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    println!("{error}");
    dispatcher.close(LIMIT).await
}
