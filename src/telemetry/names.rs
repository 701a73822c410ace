//! The names of metrics and of their labels, spelled as in OpenTelemetry's semantic conventions 1.45 where those have the
//! thing, else under `dispatcher.`. The table in the docs is held against this one.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Debug)]
#[cfg_attr(not(any(test, feature = "metrics")), allow(dead_code, reason = "told to recorders"))]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// In the facade's terms.
    pub(super) unit: &'static str,
    pub(super) about: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, $unit:literal, $about:literal;)+) => {
        $(pub(super) const $constant: &str = $name;)+

        /// All of them, in the order of the docs.
        #[cfg_attr(not(any(test, feature = "metrics")), allow(dead_code, reason = "told to recorders"))]
        pub(super) const METRICS: [Metric; [$($name),+].len()] =
            [$(Metric { name: $name, kind: Kind::$kind, unit: $unit, about: $about }),+];
    };
}

metrics! {
    SENT = "messaging.client.sent.messages", Counter, "count", "messages whose send has ended; with error.type if it failed";
    ACKNOWLEDGED = "dispatcher.producer.acknowledged.messages", Counter, "count", "messages that all in-sync replicas have";
    SEND_FAILED = "dispatcher.producer.failed.messages", Counter, "count", "messages whose send failed, those that never left included";
    SENT_BYTES = "dispatcher.producer.acknowledged.bytes", Counter, "bytes", "acknowledged batches, compressed";
    OPERATION_DURATION = "messaging.client.operation.duration", Histogram, "seconds", "from a batch's first message to its acknowledgement";
    CONSUMED = "messaging.client.consumed.messages", Counter, "count", "messages fetched for handlers";
    CONSUMED_BYTES = "dispatcher.consumer.fetched.bytes", Counter, "bytes", "their batches, decompressed";
    PROCESS_DURATION = "messaging.process.duration", Histogram, "seconds", "one call of a handler; with error.type if it failed";
    HANDLED = "dispatcher.consumer.handled.messages", Counter, "count", "messages whose handler has succeeded";
    FAILED = "dispatcher.consumer.failed.messages", Counter, "count", "messages whose handler has failed for good";
    RETRIED = "dispatcher.consumer.retried.messages", Counter, "count", "failed calls of a handler that are followed by another";
    IN_FLIGHT = "dispatcher.consumer.in_flight.messages", Gauge, "count", "messages with a handler at present, seen at every commit_interval";
    LAG = "dispatcher.consumer.lag.messages", Gauge, "count", "from the first message that is not handled to the end of the log, seen at every fetch and commit_interval";
    REBALANCES = "dispatcher.consumer.rebalances", Counter, "count", "assignments received from the group";
}

/// Labels.
pub(super) mod label {
    pub(in super::super) const SYSTEM_KAFKA: (&str, &str) = ("messaging.system.name", "kafka");
    pub(in super::super) const OPERATION: &str = "messaging.operation.name";
    pub(in super::super) const TOPIC: &str = "messaging.destination.name";
    pub(in super::super) const PARTITION: &str = "messaging.destination.partition.id";
    pub(in super::super) const GROUP: &str = "messaging.consumer.group.name";
    pub(in super::super) const ERROR: &str = "error.type";
}
