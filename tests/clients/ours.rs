//! This library as one more client beside the others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::{Dispatcher, Envelope, Order};

use super::Message;
use crate::common::ours::connect;
use crate::common::{unique, within};

pub async fn create_topics(bootstrap: &str, names: &[&str], partitions: i32) {
    let dispatcher = connect(bootstrap).await;
    dispatcher.create_topics(names.iter().copied()).partitions(partitions).replicas(1).await.unwrap();
}

/// The codecs take turns; each message has a batch of its own.
pub async fn write(bootstrap: &str, topic: &str, messages: &[Message], codecs: &[&str]) {
    let mut dispatchers = Vec::new();
    for codec in codecs {
        let mut config = dispatcher::Config::default();
        config.apply_properties(&format!("bootstrap.servers={bootstrap}\ncompression.type={codec}")).unwrap();
        dispatchers.push(Dispatcher::from_config(config).connect().await.unwrap());
    }
    for (n, message) in messages.iter().enumerate() {
        let mut send = dispatchers[n % dispatchers.len()]
            .send(topic, message.value.as_deref())
            .envelope(Envelope::Raw)
            .partition(0);
        send = send.key(message.key.as_deref());
        for (name, value) in &message.headers {
            send = send.header(name, value.as_deref());
        }
        send.await.unwrap();
    }
}

pub async fn read(bootstrap: &str, topic: &str, count: usize) -> Vec<Message> {
    let dispatcher = connect(bootstrap).await;
    let read = Arc::new(Mutex::new(Vec::new()));
    let rows = read.clone();
    let handler = move |message: dispatcher::Message| {
        rows.lock().unwrap().push(Message {
            key: message.key().map(text),
            value: message.value().map(text),
            headers: message.headers().map(|(name, value)| (text(name), value.map(text))).collect(),
        });
        async { Ok::<_, std::io::Error>(()) }
    };
    let subscribe = dispatcher.subscribe(topic, handler).group_exact(unique("reader")).order(Order::Partition);
    let subscription = subscribe.count(count as u64).start().await.unwrap();
    within(Duration::from_secs(30), "our own reader", subscription.join()).await.unwrap();
    read.lock().unwrap().clone()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
