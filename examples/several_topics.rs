//! One group over two topics with a handler each, paused for a while and watched: `cargo run --example several_topics`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Message, Result, SubscriptionEvent};

const EACH: u64 = 200;

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 4).topic("payments", 2).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;

    // Each handler takes what suits it.
    let (ordered, paid) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (orders, payments) = (ordered.clone(), paid.clone());
    let subscription = dispatcher
        .subscribe("orders", move |_order: String| {
            orders.fetch_add(1, Ordering::Relaxed);
            async { Ok::<(), Error>(()) }
        })
        .and("payments", move |payment: Message| {
            payments.fetch_add(1, Ordering::Relaxed);
            async move { if payment.key().is_some() { Ok(()) } else { Err("a payment without a payer") } }
        })
        .group_exact("billing")
        .concurrency(32)
        .start()
        .await?;

    // Of each of the six partitions it is told when it has caught up.
    let mut events = subscription.events();
    let mut behind = 6;
    while behind > 0 {
        match events.next().await {
            Some(SubscriptionEvent::CaughtUp { topic, partition, .. }) => {
                println!("caught up with {topic}-{partition}");
                behind -= 1;
            }
            Some(event) => println!("{event:?}"),
            None => break,
        }
    }

    subscription.pause();
    for i in 0..EACH {
        let customer = format!("customer-{}", i % 10);
        dispatcher.send("orders", format!("order {i}")).key(&customer).await?;
        dispatcher.send("payments", format!("payment {i}")).key(&customer).await?;
    }
    println!("paused, {} of {} messages were handled", count(&ordered) + count(&paid), 2 * EACH);
    subscription.resume();
    while count(&ordered) + count(&paid) < 2 * EACH {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("resumed, {} orders and {} payments were handled", count(&ordered), count(&paid));
    subscription.stop().await?;
    dispatcher.close(Duration::from_secs(10)).await
}

fn count(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}
