//! A message's way through two services, as spans and metrics show it:
//! `cargo run --features metrics --example observability`
//!
//! Starts a Kafka cluster inside this process. The spans are written to stderr, as they end; in a service a layer such as
//! that of `tracing-opentelemetry` takes them, and a recorder such as `metrics-exporter-prometheus` the metrics.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Message, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[tokio::main]
async fn main() -> Result<()> {
    let filter = EnvFilter::new("warn,dispatcher::trace=debug");
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_span_events(FmtSpan::CLOSE);
    subscriber.with_writer(std::io::stderr).init();
    #[cfg(feature = "metrics")]
    let _the_only_one = metrics::set_global_recorder(print::Print);

    let cluster = EmbeddedCluster::builder().topic("orders", 3).topic("bills", 1).start().await?;
    // Every message gets a `traceparent` header.
    let dispatcher = Dispatcher::builder(cluster.brokers()).trace_context(true).connect().await?;

    let sender = dispatcher.clone();
    let orders = dispatcher
        .subscribe("orders", move |order: Message| {
            let sender = sender.clone();
            async move {
                println!("orders: {}", trace_of(&order));
                // Goes on with the order's trace: it is sent within its handler.
                sender.send("bills", "2.40").key(order.key().unwrap_or_default()).await.map(|_| ())
            }
        })
        .group("kitchen")
        .start()
        .await?;
    let (done, mut all_done) = tokio::sync::mpsc::unbounded_channel();
    let bills = dispatcher
        .subscribe("bills", move |bill: Message| {
            println!("bills:  {}", trace_of(&bill));
            let _ = done.send(());
            async { Ok::<(), Error>(()) }
        })
        .group("till")
        .start()
        .await?;

    for table in ["table-1", "table-2", "table-3"] {
        dispatcher.send("orders", "one espresso").key(table).await?;
        all_done.recv().await;
    }
    orders.stop().await?;
    bills.stop().await?;
    dispatcher.close(Duration::from_secs(5)).await
}

fn trace_of(message: &Message) -> String {
    let trace = message.trace_context().map(|context| context.trace_id());
    format!(
        "{} belongs to trace {}",
        String::from_utf8_lossy(message.key().unwrap_or_default()),
        trace.unwrap_or_default()
    )
}

/// Prints counters as they count. A recorder for programs keeps and exports them.
#[cfg(feature = "metrics")]
mod print {
    use std::sync::Arc;

    use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    pub(crate) struct Print;

    struct Named(Key);

    impl CounterFn for Named {
        fn increment(&self, value: u64) {
            let labels: Vec<_> = self.0.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
            println!("        {} + {value} ({})", self.0.name(), labels.join(", "));
        }

        fn absolute(&self, _: u64) {}
    }

    impl Recorder for Print {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Named(key.clone())))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
}
