//! Spans and trace context: what a subscriber of `tracing` is told, and that a send and its handler in another process
//! share one trace. Needs nothing but Rust.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::telemetry::{Propagator, TraceContext};
use dispatcher::{Builder, Dispatcher, Envelope, Error, Message};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

type Fields = BTreeMap<String, String>;

/// Keeps the fields of every span that has closed, and which one it was in.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(&'static str, Fields)>>>);

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Collect(&mut fields));
        let span = context.span(id).unwrap();
        if let Some(parent) = span.parent() {
            fields.insert("in".into(), parent.name().into());
        }
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(&mut Collect(span.extensions_mut().get_mut::<Fields>().unwrap()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if span.metadata().target() == "dispatcher::trace" {
            let fields = span.extensions_mut().remove::<Fields>().unwrap();
            self.0.lock().unwrap().push((span.name(), fields));
        }
    }
}

impl Spans {
    /// Of this test's thread: the tests' runtimes have one each.
    fn install() -> (Self, tracing::dispatcher::DefaultGuard) {
        let spans = Self::default();
        let subscriber = tracing_subscriber::registry().with(spans.clone());
        (spans, tracing::dispatcher::set_default(&Dispatch::new(subscriber)))
    }

    fn named(&self, name: &str) -> Vec<Fields> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|(n, _)| *n == name).map(|(_, fields)| fields.clone()).collect()
    }

    async fn until(&self, name: &str, count: usize) -> Vec<Fields> {
        for _ in 0..1_000 {
            let found = self.named(name);
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {count} spans {name}: {:?}", self.0.lock().unwrap());
    }
}

async fn cluster() -> EmbeddedCluster {
    EmbeddedCluster::builder().topic("orders", 3).topic("bills", 1).start().await.unwrap()
}

fn builder(cluster: &EmbeddedCluster) -> Builder {
    Dispatcher::builder(cluster.brokers()).replicas(1)
}

fn has(fields: &Fields, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(fields.get(*name).map(String::as_str), Some(*value), "{name} of {fields:?}");
    }
}

#[tokio::test]
async fn a_send_and_its_handler_have_spans_with_opentelemetrys_names() {
    let (spans, _guard) = Spans::install();
    let cluster = cluster().await;
    let dispatcher = builder(&cluster).connect().await.unwrap();
    let handler = async |message: Message| match message.value() {
        Some(b"bad") => Err(std::io::Error::other("no beans")),
        Some(b"panic") => panic!("a handler that panics"),
        _ => Ok(()),
    };
    let kitchen = dispatcher.subscribe("orders", handler).group("kitchen").start().await.unwrap();
    let report = dispatcher.send("orders", "espresso").key("table-4").partition(2).await.unwrap();
    dispatcher.send("orders", "bad").partition(2).await.unwrap();
    dispatcher.send("orders", "panic").partition(2).await.unwrap();
    dispatcher.send("orders", None::<&str>).key(&b"\xff"[..]).partition(2).await.unwrap();

    let sent = spans.until("send", 4).await;
    let id = report.id().unwrap();
    has(
        &sent[0],
        &[
            ("otel.name", "send orders"),
            ("otel.kind", "producer"),
            ("messaging.system.name", "kafka"),
            ("messaging.operation.name", "send"),
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", "orders"),
            ("messaging.destination.partition.id", "2"),
            ("messaging.message.id", id),
            ("messaging.message.body.size", "8"),
            ("kafka.message.key", "table-4"),
            ("kafka.offset", "0"),
        ],
    );
    for absent in ["error.type", "kafka.message.tombstone", "trace_id", "otel.status_code"] {
        assert!(!sent[0].contains_key(absent), "{absent}");
    }
    has(&sent[3], &[("kafka.message.tombstone", "true")]);
    assert!(!sent[3].contains_key("kafka.message.key"), "it is no text");

    let handled = spans.until("process", 4).await;
    has(
        &handled[0],
        &[
            ("otel.name", "process orders"),
            ("otel.kind", "consumer"),
            ("messaging.system.name", "kafka"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "orders"),
            ("messaging.destination.partition.id", "2"),
            ("messaging.consumer.group.name", "kitchen:orders"),
            ("messaging.message.id", id),
            ("kafka.message.key", "table-4"),
            ("kafka.offset", "0"),
            ("dispatcher.attempt", "1"),
        ],
    );
    assert!(!handled[0].contains_key("error.type") && !handled[0].contains_key("in"), "{handled:?}");
    has(&handled[1], &[("error.type", "handler"), ("otel.status_code", "ERROR")]);
    has(&handled[2], &[("error.type", "panic")]);
    kitchen.stop().await.unwrap();
}

#[tokio::test]
async fn what_does_not_end_and_what_does_not_fit_is_told_apart() {
    let (spans, _guard) = Spans::install();
    let cluster = cluster().await;
    let dispatcher = builder(&cluster).connect().await.unwrap();
    let never = async |_: String| std::future::pending::<Result<(), Error>>().await;
    let limited = dispatcher.subscribe("orders", never).handler_timeout(Duration::from_millis(50));
    let kitchen = limited.group("kitchen").concurrency(2).start().await.unwrap();
    dispatcher.send("orders", "slow").partition(1).await.unwrap();
    dispatcher.send("orders", vec![0xff, 0xfe]).partition(1).await.unwrap();
    let mut errors: Vec<_> = spans.until("process", 2).await.into_iter().map(|f| f["error.type"].clone()).collect();
    errors.sort();
    assert_eq!(errors, ["cancelled", "unfit"]);
    kitchen.stop().await.unwrap();

    let error = dispatcher.send("orders", "x").partition(1).header("h", vec![0; 30_000_000]).await.unwrap_err();
    let sent = spans.until("send", 3).await;
    assert_eq!(sent[2]["error.type"], "message_too_large", "{error}");
}

#[tokio::test]
async fn headers_are_added_only_when_asked_for_and_read_always() {
    let cluster = cluster().await;
    let plain = builder(&cluster).connect().await.unwrap();
    plain.send("bills", "1").await.unwrap();
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    plain.send("bills", "2").header("traceparent", given).header("tracestate", "shop=7").await.unwrap();
    let parent = TraceContext::parse(given, None).unwrap();
    plain.send("bills", "3").trace_parent(&parent).await.unwrap();
    let tracing = builder(&cluster).trace_context(true).connect().await.unwrap();
    tracing.send("bills", "4").await.unwrap();
    tracing.send("bills", "5").header("traceparent", given).await.unwrap();
    tracing.send("bills", "6").envelope(Envelope::Raw).await.unwrap();
    tracing.send("bills", "7").envelope(Envelope::GoJson).await.unwrap();

    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let handler = move |message: Message| {
        let ours = message.headers().filter(|(name, _)| name.starts_with(b"trace")).count();
        into.lock().unwrap().push((message.trace_context(), ours));
        async { Ok::<(), Error>(()) }
    };
    plain.subscribe("bills", handler).group("g").until_end().start().await.unwrap().join().await.unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let counts: Vec<_> = seen.iter().map(|(_, headers)| *headers).collect();
    assert_eq!(counts, [0, 2, 1, 1, 1, 1, 0]);
    let context = |i: usize| seen[i].0.clone().unwrap();
    assert_eq!((context(1).to_string().as_str(), context(1).state()), (given, Some("shop=7")));
    assert_eq!(context(2).trace_id(), parent.trace_id());
    assert_ne!(context(2).span_id(), parent.span_id());
    assert_ne!(context(3).trace_id(), parent.trace_id());
    assert_eq!(context(4), parent, "the sender's own header stays");
}

#[tokio::test]
async fn a_send_within_a_handler_goes_on_with_its_trace() {
    let (spans, _guard) = Spans::install();
    let cluster = cluster().await;
    let dispatcher = builder(&cluster).trace_context(true).connect().await.unwrap();
    let inner = dispatcher.clone();
    let handler = move |_: Message| {
        let inner = inner.clone();
        async move {
            tokio::task::yield_now().await;
            inner.send("bills", "to pay").await.map(|_| ())
        }
    };
    let orders = dispatcher.subscribe("orders", handler).group("g").concurrency(8).start().await.unwrap();
    let sends = (0..8).map(|i| dispatcher.send("orders", format!("{i}")).into_future());
    futures_util::future::try_join_all(sends).await.unwrap();

    let (sent, handled) = (spans.until("send", 16).await, spans.until("process", 8).await);
    let named = |topic: &'static str| sent.iter().filter(move |f| f["messaging.destination.name"] == topic);
    assert_eq!(named("orders").map(|f| &f["trace_id"]).collect::<std::collections::BTreeSet<_>>().len(), 8);
    for first in named("orders") {
        assert!(!first.contains_key("parent_span_id"));
        let handling = handled.iter().find(|f| f["trace_id"] == first["trace_id"]).unwrap();
        assert_eq!(handling["parent_span_id"], first["span_id"]);
        let second = named("bills").find(|f| f["trace_id"] == first["trace_id"]).unwrap();
        assert_eq!((&second["parent_span_id"], &*second["in"]), (&handling["span_id"], "process"));
    }
    orders.stop().await.unwrap();
}

/// As a tracing system would: its context is that of the current span.
struct Own(Arc<Mutex<Vec<String>>>);

impl Propagator for Own {
    fn inject(&self, set: &mut dyn FnMut(&str, &str)) {
        let name = tracing::Span::current().metadata().map_or("none", |m| m.name());
        set("baggage", name);
    }

    fn extract<'m>(&self, get: &dyn Fn(&str) -> Option<&'m str>, span: &tracing::Span) {
        let name = span.metadata().map_or("none", |m| m.name());
        self.0.lock().unwrap().push(format!("{} in {name}", get("baggage").unwrap_or_default()));
    }
}

#[tokio::test]
async fn a_propagator_takes_the_place_of_the_built_in_one() {
    let (_spans, _guard) = Spans::install();
    let (cluster, seen) = (cluster().await, Arc::new(Mutex::new(Vec::new())));
    let dispatcher = builder(&cluster).propagator(Own(seen.clone())).connect().await.unwrap();
    dispatcher.send("bills", "1").await.unwrap();
    let handler = async |message: Message| {
        assert!(message.header("traceparent").is_none());
        Ok::<(), Error>(())
    };
    let read = dispatcher.subscribe("bills", handler).group("g").until_end().start().await.unwrap();
    read.join().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["send in process"]);
}

/// The second process of the next test.
#[tokio::test]
#[ignore = "started by a_send_and_its_handler_in_another_process_share_one_trace_id"]
async fn another_process() {
    let Ok(broker) = std::env::var("TRACES_TEST_BROKER") else { return };
    let (spans, _guard) = Spans::install();
    let dispatcher = Dispatcher::builder([broker]).connect().await.unwrap();
    let handler = async |_: Message| Ok::<(), Error>(());
    let read = dispatcher.subscribe("orders", handler).group("g").until_end().start().await.unwrap();
    read.join().await.unwrap();
    let handled = spans.until("process", 1).await;
    println!("trace_id={} parent_span_id={}", handled[0]["trace_id"], handled[0]["parent_span_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_and_its_handler_in_another_process_share_one_trace_id() {
    let (spans, cluster) = (Spans::default(), cluster().await);
    let dispatcher = builder(&cluster).trace_context(true).connect().await.unwrap();
    // A runtime with threads of its own has the subscriber nowhere but here, where the send is called.
    let subscriber = Dispatch::new(tracing_subscriber::registry().with(spans.clone()));
    let send = tracing::dispatcher::with_default(&subscriber, || {
        let send = dispatcher.send("orders", "espresso").into_future();
        tracing::instrument::WithSubscriber::with_subscriber(send, subscriber.clone())
    });
    send.await.unwrap();
    let sent = spans.until("send", 1).await.remove(0);
    let broker = cluster.brokers().remove(0);
    let told = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "another_process", "--ignored", "--nocapture"]).env("TRACES_TEST_BROKER", broker);
        child.stderr(Stdio::inherit()).output().unwrap()
    });
    let told = String::from_utf8(told.await.unwrap().stdout).unwrap();
    let line = format!("trace_id={} parent_span_id={}", sent["trace_id"], sent["span_id"]);
    assert!(told.contains(&line), "{line} is not in what the other process says: {told}");
}
