//! Handles the messages of a topic of your cluster until Ctrl-C:
//! `KAFKA_BROKERS=localhost:9092 cargo run --example consumer`

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::{Dispatcher, Message, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let brokers = std::env::var("KAFKA_BROKERS").unwrap_or_else(|_| "localhost:9092".into());
    let dispatcher = Dispatcher::builder(brokers.split(',')).client_id("example").replicas(1).connect().await?;

    let subscription = dispatcher
        .subscribe("orders", handle)
        .group("kitchen")
        // 32 handlers at once; those of one key one after another.
        .concurrency(32)
        // A failed message stays uncommitted and comes again after a restart.
        .hold_on_error()
        .start()
        .await?;
    println!("member of group {}", subscription.group_id());

    let mut errors = subscription.errors();
    loop {
        tokio::select! {
            failure = errors.next() => match failure {
                Some(failure) => println!("offset {:?}: {}", failure.offset(), failure.error()),
                // It has ended by itself; join() says why.
                None => return subscription.join().await.map(drop),
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }

    // Running handlers end, what is finished is committed, the group is left.
    let stopped = subscription.stop().await?;
    println!("stopped, {} messages unfinished", stopped.unfinished());
    let status = dispatcher.consume_status("orders", "kitchen").await?;
    println!("{} messages to go", status.total_lag());
    Ok(())
}

async fn handle(message: Message) -> std::result::Result<(), std::str::Utf8Error> {
    let text = std::str::from_utf8(message.value().unwrap_or_default())?;
    println!("{}-{} {:?} {text}", message.partition(), message.offset(), message.id());
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(())
}
