//! Meters of the `metrics` facade. Each is registered once for what it measures (a partition, a subscription's topic) and
//! kept there; only an error's type is looked up when it happens. Without the feature `metrics` all of this is empty.
//! Labels are topics, partitions, groups and error types, never ids of messages.

use std::sync::Arc;
use std::time::Duration;

use super::names::{self as name, label};
use crate::error::Error;

/// Whether anything is measured. What only prepares a measurement asks first.
pub(crate) const ON: bool = cfg!(feature = "metrics");

type Labels<'a> = &'a [(&'static str, &'a str)];

/// Defines a meter that is nothing without the feature.
macro_rules! meters {
    ($($(#[$doc:meta])* $name:ident: $inner:ident by $register:ident, $act:ident = $method:ident($value:ty);)+) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        struct $name(#[cfg(feature = "metrics")] metrics::$inner);

        impl $name {
            fn new(_name: &'static str, _labels: Labels<'_>) -> Self {
                Self(#[cfg(feature = "metrics")] metrics::$register!(_name, owned(_labels)))
            }

            #[inline]
            fn $act(&self, _value: $value) {
                #[cfg(feature = "metrics")]
                self.0.$method(_value);
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self(#[cfg(feature = "metrics")] metrics::$inner::noop())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )+};
}

meters! {
    /// Only grows.
    Count: Counter by counter, add = increment(u64);
    /// Goes up and down.
    Level: Gauge by gauge, set = set(f64);
    /// A distribution.
    Spread: Histogram by histogram, record = record(f64);
}

#[cfg(feature = "metrics")]
fn owned(labels: Labels<'_>) -> Vec<metrics::Label> {
    labels.iter().map(|(key, value)| metrics::Label::new(*key, (*value).to_owned())).collect()
}

/// Tells the recorder what each metric is.
pub(crate) fn describe() {
    #[cfg(feature = "metrics")]
    for metric in &name::METRICS {
        let unit = metrics::Unit::from_string(metric.unit).unwrap_or(metrics::Unit::Count);
        match metric.kind {
            name::Kind::Counter => metrics::describe_counter!(metric.name, unit, metric.about),
            name::Kind::Gauge => metrics::describe_gauge!(metric.name, unit, metric.about),
            name::Kind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.about),
        }
    }
}

/// What is sent to one partition. Counted per batch.
#[derive(Debug, Default)]
pub(crate) struct SendMeter {
    sent: Count,
    acknowledged: Count,
    bytes: Count,
    duration: Spread,
}

impl SendMeter {
    pub(crate) fn new(topic: &str, partition: i32) -> Self {
        if !ON {
            return Self::default();
        }
        let partition = partition.to_string();
        let own = [(label::TOPIC, topic), (label::PARTITION, &*partition)];
        let otel = [label::SYSTEM_KAFKA, (label::OPERATION, "send"), own[0], own[1]];
        Self {
            sent: Count::new(name::SENT, &otel),
            acknowledged: Count::new(name::ACKNOWLEDGED, &own),
            bytes: Count::new(name::SENT_BYTES, &own),
            duration: Spread::new(name::OPERATION_DURATION, &otel),
        }
    }

    /// A batch was acknowledged, so long after it was begun.
    pub(crate) fn acknowledged(&self, count: u32, bytes: usize, took: Duration) {
        self.sent.add(count.into());
        self.acknowledged.add(count.into());
        self.bytes.add(bytes as u64);
        self.duration.record(took.as_secs_f64());
    }

    /// A batch failed for good. `sent`: it was on its way at least once, as far as is known.
    pub(crate) fn failed(&self, topic: &str, partition: i32, count: u32, sent: bool, error: &Error) {
        if !ON {
            return;
        }
        let partition = partition.to_string();
        let own = [(label::TOPIC, topic), (label::PARTITION, &*partition), (label::ERROR, error.type_name())];
        Count::new(name::SEND_FAILED, &own).add(count.into());
        if sent {
            let otel = [label::SYSTEM_KAFKA, (label::OPERATION, "send"), own[0], own[1], own[2]];
            Count::new(name::SENT, &otel).add(count.into());
        }
    }
}

/// What happens to one consumer, whatever the partition.
#[derive(Debug, Default)]
pub(crate) struct ConsumerMeter {
    group: Arc<str>,
    rebalances: Count,
}

impl ConsumerMeter {
    pub(crate) fn new(group: &str) -> Arc<Self> {
        let rebalances = Count::new(name::REBALANCES, &[(label::GROUP, group)]);
        Arc::new(Self { group: group.into(), rebalances })
    }

    /// The group has assigned partitions anew.
    pub(crate) fn rebalanced(&self) {
        self.rebalances.add(1);
    }

    /// A message's handler failed and is not called again for it here.
    pub(crate) fn failed(&self, topic: &str) {
        self.happened(name::FAILED, topic);
    }

    /// A message's handler failed and is to be called again, in place or through a retry topic.
    pub(crate) fn retried(&self, topic: &str) {
        self.happened(name::RETRIED, topic);
    }

    fn happened(&self, name: &'static str, topic: &str) {
        if ON {
            Count::new(name, &[(label::GROUP, &*self.group), (label::TOPIC, topic)]).add(1);
        }
    }

    /// The meters of a partition it is given.
    pub(crate) fn partition(&self, topic: &str, partition: i32) -> PartitionMeter {
        if !ON {
            return PartitionMeter::default();
        }
        let partition = partition.to_string();
        let own = [(label::GROUP, &*self.group), (label::TOPIC, topic), (label::PARTITION, &*partition)];
        let otel = [label::SYSTEM_KAFKA, (label::OPERATION, "receive"), own[0], own[1], own[2]];
        PartitionMeter {
            consumed: Count::new(name::CONSUMED, &otel),
            bytes: Count::new(name::CONSUMED_BYTES, &own),
            lag: Level::new(name::LAG, &own),
            in_flight: Level::new(name::IN_FLIGHT, &own),
            end: 0,
        }
    }
}

/// What is read from one assigned partition. Counted per fetched block; levels go back to 0 with the assignment.
#[derive(Debug, Default)]
pub(crate) struct PartitionMeter {
    consumed: Count,
    bytes: Count,
    lag: Level,
    in_flight: Level,
    /// Where the log ended at the last fetch.
    end: i64,
}

impl PartitionMeter {
    /// A block has arrived; the log ends at `end`.
    pub(crate) fn fetched(&mut self, count: u64, bytes: u64, end: i64) {
        self.consumed.add(count);
        self.bytes.add(bytes);
        self.end = end;
    }

    /// Everything below `watermark` is handled, and `in_flight` messages are with their handlers.
    pub(crate) fn stands(&self, watermark: i64, in_flight: u32) {
        self.lag.set((self.end - watermark).max(0) as f64);
        self.in_flight.set(in_flight.into());
    }
}

impl Drop for PartitionMeter {
    fn drop(&mut self) {
        self.lag.set(0.0);
        self.in_flight.set(0.0);
    }
}

/// The handlers of one topic of a subscription. The only meter that is used per message.
#[derive(Debug, Default)]
pub(crate) struct HandlerMeter {
    group: Arc<str>,
    topic: Arc<str>,
    handled: Count,
    duration: Spread,
}

impl HandlerMeter {
    pub(crate) fn new(group: &str, topic: &str) -> Self {
        if !ON {
            return Self::default();
        }
        let own = [(label::GROUP, group), (label::TOPIC, topic)];
        Self {
            group: group.into(),
            topic: topic.into(),
            handled: Count::new(name::HANDLED, &own),
            duration: Spread::new(name::PROCESS_DURATION, &Self::otel(&own)),
        }
    }

    fn otel<'a>(own: &[(&'static str, &'a str); 2]) -> [(&'static str, &'a str); 4] {
        [label::SYSTEM_KAFKA, (label::OPERATION, "process"), own[0], own[1]]
    }

    /// A handler has ended.
    pub(crate) fn ended(&self, took: Duration, error: Option<&'static str>) {
        let Some(error) = error else {
            self.handled.add(1);
            self.duration.record(took.as_secs_f64());
            return;
        };
        if ON {
            let [system, operation, group, topic] =
                Self::otel(&[(label::GROUP, &*self.group), (label::TOPIC, &*self.topic)]);
            let labels = [system, operation, group, topic, (label::ERROR, error)];
            Spread::new(name::PROCESS_DURATION, &labels).record(took.as_secs_f64());
        }
    }
}
