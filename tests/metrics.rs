//! What goes through the `metrics` facade, held against the README's table: every metric with the kind and the labels that
//! are written there, and right numbers.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, ErrorCode, Fault};
use dispatcher::{Dispatcher, ErrorKind, Message};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// By kind and key.
type Entries = BTreeMap<(&'static str, String), Arc<Entry>>;

/// Keeps everything: what was counted, and what was described.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Entries>>, Arc<Mutex<BTreeSet<String>>>);

struct Entry {
    name: String,
    labels: BTreeMap<String, String>,
    /// Bits of an f64 for gauges; the count for histograms.
    value: AtomicU64,
    highest: Mutex<f64>,
}

impl CounterFn for Entry {
    fn increment(&self, value: u64) {
        self.value.fetch_add(value, Ordering::SeqCst);
    }

    fn absolute(&self, value: u64) {
        self.value.store(value, Ordering::SeqCst);
    }
}

impl GaugeFn for Entry {
    fn increment(&self, value: f64) {
        GaugeFn::set(self, f64::from_bits(self.value.load(Ordering::SeqCst)) + value);
    }

    fn decrement(&self, value: f64) {
        GaugeFn::increment(self, -value);
    }

    fn set(&self, value: f64) {
        let mut highest = self.highest.lock().unwrap();
        *highest = highest.max(value);
        self.value.store(value.to_bits(), Ordering::SeqCst);
    }
}

impl HistogramFn for Entry {
    fn record(&self, value: f64) {
        let mut highest = self.highest.lock().unwrap();
        *highest = highest.max(value);
        self.value.fetch_add(1, Ordering::SeqCst);
    }
}

impl Book {
    fn entry(&self, kind: &'static str, key: &Key) -> Arc<Entry> {
        let labels = key.labels().map(|l| (l.key().to_owned(), l.value().to_owned())).collect();
        let entry = || {
            let (value, highest) = (AtomicU64::new(0), Mutex::new(0.0));
            Arc::new(Entry { name: key.name().to_owned(), labels, value, highest })
        };
        self.0.lock().unwrap().entry((kind, key.to_string())).or_insert_with(entry).clone()
    }

    fn of(&self, name: &str, labels: &[(&str, &str)]) -> Vec<Arc<Entry>> {
        let has = |e: &Entry| labels.iter().all(|(k, v)| e.labels.get(*k).is_some_and(|found| found == v));
        self.0.lock().unwrap().values().filter(|e| e.name == name && has(e)).cloned().collect()
    }

    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.of(name, labels).iter().map(|e| e.value.load(Ordering::SeqCst)).sum()
    }

    fn level(&self, name: &str) -> f64 {
        self.of(name, &[]).iter().map(|e| f64::from_bits(e.value.load(Ordering::SeqCst))).sum()
    }

    fn highest(&self, name: &str) -> f64 {
        self.of(name, &[]).iter().map(|e| *e.highest.lock().unwrap()).fold(0.0, f64::max)
    }
}

impl Recorder for Book {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.1.lock().unwrap().insert(name.as_str().to_owned());
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.1.lock().unwrap().insert(name.as_str().to_owned());
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        assert_eq!(unit, Some(Unit::Seconds), "{}", name.as_str());
        self.1.lock().unwrap().insert(name.as_str().to_owned());
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.entry("counter", key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.entry("gauge", key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.entry("histogram", key))
    }
}

/// The README's rows: name, kind, labels spelled out.
fn documented() -> BTreeSet<(String, String, BTreeSet<String>)> {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("| metric | kind | labels |").unwrap();
    let (table, _) = rest.split_once("\n\n").unwrap();
    let spelled = |name: &str, label: &str| -> Option<String> {
        let long = match label.trim().trim_matches('`') {
            "topic" => "messaging.destination.name",
            "partition" => "messaging.destination.partition.id",
            "group" => "messaging.consumer.group.name",
            "error.type" => "error.type",
            other => panic!("{name} has an unknown label {other}"),
        };
        Some(long.to_owned())
    };
    let row = |line: &str| {
        let cells: Vec<_> = line.trim().split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        let labels = cells[3].split(',').filter_map(|label| spelled(&cells[1], label)).collect();
        (cells[1].clone(), cells[2].clone(), labels)
    };
    table.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[tokio::test]
async fn every_metric_of_the_table_is_told_with_its_labels() {
    tokio::time::timeout(Duration::from_secs(60), every_metric()).await.unwrap();
}

async fn every_metric() {
    let book = Book::default();
    metrics::set_global_recorder(book.clone()).unwrap();
    let cluster = EmbeddedCluster::builder().topic("orders", 2).start().await.unwrap();
    let limit = Duration::from_secs(3);
    let builder = Dispatcher::builder(cluster.brokers()).request_timeout(limit).delivery_timeout(limit);
    let dispatcher = builder.connect().await.unwrap();
    for i in 0..50 {
        dispatcher.send("orders", format!("{i}")).partition(i % 2).await.unwrap();
    }
    cluster.inject(Fault::on(Api::Produce).error(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let refused = dispatcher.send("orders", "x").partition(0).await.unwrap_err();
    assert_ne!(refused.kind(), ErrorKind::MaybeWritten, "{refused}");

    let orders = [("messaging.destination.name", "orders")];
    let succeeded =
        |name: &str| book.count(name, &orders) - book.count(name, &[("error.type", "TOPIC_AUTHORIZATION_FAILED")]);
    assert_eq!(succeeded("messaging.client.sent.messages"), 50);
    let failed = [orders[0], ("error.type", "TOPIC_AUTHORIZATION_FAILED"), ("messaging.system.name", "kafka")];
    assert_eq!(book.count("messaging.client.sent.messages", &failed), 1);
    assert_eq!(book.count("dispatcher.producer.failed.messages", &failed[..2]), 1);
    assert_eq!(book.count("dispatcher.producer.acknowledged.messages", &orders), 50);
    let second = [orders[0], ("messaging.destination.partition.id", "1")];
    assert_eq!(book.count("dispatcher.producer.acknowledged.messages", &second), 25);
    assert!(book.count("dispatcher.producer.acknowledged.bytes", &orders) > 50 * 60);
    let batches = book.count("messaging.client.operation.duration", &[("messaging.operation.name", "send")]);
    assert!((1..=50).contains(&batches), "{batches}");

    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = gate.clone();
    let handler = move |message: Message| {
        let opened = opened.clone();
        async move {
            let _permit = opened.acquire().await.unwrap();
            if message.value() == Some(b"7") { Err("no beans") } else { Ok(()) }
        }
    };
    let subscribe = dispatcher.subscribe("orders", handler).group("g").concurrency(8).commit_interval(SOON);
    let subscription = subscribe.start().await.unwrap();
    while book.level("dispatcher.consumer.in_flight.messages") < 8.0 {
        tokio::time::sleep(SOON).await;
    }
    gate.add_permits(100);
    while book.level("dispatcher.consumer.lag.messages") > 0.0 || book.count("messaging.process.duration", &[]) < 50 {
        tokio::time::sleep(SOON).await;
    }
    let group = [orders[0], ("messaging.consumer.group.name", "g:orders")];
    assert_eq!(book.count("messaging.client.consumed.messages", &group), 50);
    assert_eq!(book.count("dispatcher.consumer.handled.messages", &group), 49);
    assert_eq!(book.count("dispatcher.consumer.failed.messages", &group), 1);
    assert_eq!(book.count("messaging.process.duration", &[group[0], group[1], ("error.type", "handler")]), 1);
    assert_eq!(book.count("dispatcher.consumer.rebalances", &group[1..]), 1);
    assert!(book.count("dispatcher.consumer.fetched.bytes", &group) > 50 * 60);
    assert!(book.highest("dispatcher.consumer.lag.messages") >= 20.0, "each partition had 25 messages");
    assert!(book.highest("messaging.process.duration") < 20.0, "seconds");
    subscription.stop().await.unwrap();
    assert_eq!(book.level("dispatcher.consumer.in_flight.messages"), 0.0);

    let mut told: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for ((kind, _), entry) in &*book.0.lock().unwrap() {
        let labels = told.entry((entry.name.clone(), (*kind).to_owned())).or_default();
        labels.extend(entry.labels.keys().cloned());
    }
    let mut documented = documented();
    let names: BTreeSet<String> = documented.iter().map(|(name, ..)| name.clone()).collect();
    assert_eq!(*book.1.lock().unwrap(), names, "described");
    // No policy here calls a handler again.
    documented.retain(|(name, ..)| name != "dispatcher.consumer.retried.messages");
    let common = ["messaging.system.name", "messaging.operation.name"].map(str::to_owned);
    let expected = documented.into_iter().map(|(name, kind, mut labels)| {
        if name.starts_with("messaging.") {
            labels.extend(common.clone());
        }
        ((name, kind), labels)
    });
    assert_eq!(told, expected.collect());
}

const SOON: Duration = Duration::from_millis(20);
