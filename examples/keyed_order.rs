//! Many handlers at once, and still one after another for each customer: `cargo run --example keyed_order`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Message, Order, Result};

const CUSTOMERS: usize = 20;
const EACH: usize = 10;

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 2).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
    let orders = dispatcher.topic("orders").await?;
    for n in 0..EACH {
        for customer in 0..CUSTOMERS {
            orders.send(n.to_string()).key(format!("customer-{customer}")).await?;
        }
    }

    // What each customer got, in this order.
    let served = Arc::new(Mutex::new(BTreeMap::<String, Vec<String>>::new()));
    let notes = served.clone();
    let serve = move |(order, message): (String, Message)| {
        let notes = notes.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let customer = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
            notes.lock().unwrap_or_else(|e| e.into_inner()).entry(customer).or_default().push(order);
            Ok::<(), Error>(())
        }
    };
    let began = Instant::now();
    let kitchen = dispatcher.subscribe("orders", serve).group("kitchen").until_end();
    // More handlers than there are partitions. Order::Key is what it would be anyway.
    kitchen.concurrency(CUSTOMERS).order(Order::Key).start().await?.join().await?;
    let took = began.elapsed();

    let served = served.lock().unwrap_or_else(|e| e.into_inner()).clone();
    let expected: Vec<_> = (0..EACH).map(|n| n.to_string()).collect();
    assert_eq!(served.len(), CUSTOMERS);
    assert!(served.values().all(|orders| *orders == expected), "a customer's orders in order");
    let alone = Duration::from_millis(10) * (CUSTOMERS * EACH) as u32;
    println!("{CUSTOMERS} customers with {EACH} orders each: {took:.1?}; one at a time it would take {alone:.1?}");
    dispatcher.close(Duration::from_secs(10)).await
}
