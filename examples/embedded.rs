//! A service under test, and a Kafka cluster that misbehaves on order, in one process and in virtual time:
//! `cargo run --example embedded`
//!
//! What `main` does is what a `#[tokio::test(start_paused = true)]` of your own service would do.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, Fault};
use dispatcher::{Dispatcher, Message, Result};

/// The service: counts orders by customer.
#[derive(Clone, Default)]
struct Orders(Arc<Mutex<BTreeMap<String, u32>>>);

impl Orders {
    async fn handle(self, message: Message) -> Result<(), &'static str> {
        let customer = String::from_utf8_lossy(message.key().ok_or("an order of nobody")?).into_owned();
        // It takes its time: virtual time, in which this whole program takes none.
        tokio::time::sleep(Duration::from_millis(500)).await;
        *self.0.lock().map_err(|_| "poisoned")?.entry(customer).or_default() += 1;
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<()> {
    // With a seed, every run is the same run, to the last request.
    let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 4).seed(7).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).network(&cluster.network()).connect().await?;
    let requests = Arc::new(Mutex::new(BTreeMap::<Api, u32>::new()));
    let counts = requests.clone();
    cluster.observe(move |event| {
        if let Ok(mut counts) = counts.lock() {
            *counts.entry(event.api).or_default() += 1;
        }
    });

    let orders = Orders::default();
    let service = orders.clone();
    let subscription = dispatcher
        .subscribe("orders", move |message: Message| service.clone().handle(message))
        .group("kitchen")
        .concurrency(16)
        .start()
        .await?;

    // Answers are lost on the way, a broker falls silent, a leader moves, the group's coordinator dies.
    cluster.inject(Fault::on(Api::Produce).nth(2).times(3).drop_after());
    cluster.inject(Fault::on(Api::Fetch).broker(2).nth(5).silence());
    cluster.inject(Fault::on_any().always().chance(0.02).drop_before());
    let started = tokio::time::Instant::now();
    for n in 0..1_000 {
        dispatcher.send("orders", format!("order {n}")).key(format!("customer-{}", n % 10)).await?;
        match n {
            300 => _ = cluster.move_leader("orders", 0, 3),
            600 => _ = cluster.coordinator("kitchen:orders").map(|id| cluster.stop_broker(id)),
            _ => {}
        }
    }
    let stored: usize = (0..4).map(|partition| cluster.records("orders", partition).len()).sum();
    println!("1000 sent, {stored} in the logs");
    assert_eq!(stored, 1_000, "whatever was repeated");

    while dispatcher.consume_status("orders", "kitchen").await?.total_lag() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    cluster.clear_faults();
    let stopped = subscription.stop().await?;
    println!("all handled after {:?} of virtual time, {} unfinished", started.elapsed(), stopped.unfinished());
    if let (Ok(orders), Ok(requests)) = (orders.0.lock(), requests.lock()) {
        println!("orders of customer-0: {:?}, at least 100", orders.get("customer-0"));
        println!("requests: {requests:?}");
    }
    Ok(())
}
