//! A compacted topic as a table: the last message of a key counts, and none at all ends it: `cargo run --example tombstones`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Message, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
    dispatcher.create_topics(["prices"]).partitions(1).replicas(1).config("cleanup.policy", "compact").await?;

    let prices = dispatcher.topic("prices").await?;
    for (drink, price) in [("espresso", "2.00"), ("tea", "2.50"), ("decaf", "3.00"), ("espresso", "2.20")] {
        prices.send(price).key(drink).await?;
    }
    // A message without a value: this key is no more.
    prices.send(None::<&str>).key("decaf").await?;

    let read = async |group: &str| {
        let table = Arc::new(Mutex::new(BTreeMap::new()));
        let rows = table.clone();
        let apply = move |message: Message| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mut rows = rows.lock().unwrap_or_else(|e| e.into_inner());
            let drink = text(message.key().unwrap_or_default());
            match message.value() {
                Some(price) => rows.insert(drink, text(price)),
                None => rows.remove(&drink),
            };
            async { Ok::<(), Error>(()) }
        };
        dispatcher.subscribe("prices", apply).group(group).until_end().start().await?.join().await?;
        let table = table.lock().unwrap_or_else(|e| e.into_inner()).clone();
        println!("{} messages in the log make {table:?}", cluster.records("prices", 0).len());
        Ok::<_, Error>(table)
    };
    let before = read("menu").await?;
    assert_eq!(before.into_iter().collect::<Vec<_>>(), [("espresso", "2.20"), ("tea", "2.50")].map(own));

    // The broker does it in its own time; here it is told to. The table stays the same.
    cluster.compact("prices");
    assert_eq!(read("menu of a newcomer").await?.len(), 2);
    assert_eq!(cluster.records("prices", 0).len(), 2);
    dispatcher.close(Duration::from_secs(10)).await
}

fn own((drink, price): (&str, &str)) -> (String, String) {
    (drink.to_owned(), price.to_owned())
}
