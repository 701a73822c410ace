//! What can be seen of a dispatcher from outside: spans, trace context, metrics, events.
//!
//! Names follow OpenTelemetry's semantic conventions for messaging, version 1.45, in which they are still in development.
//! Nothing here depends on OpenTelemetry, and what nobody asks for costs next to nothing.
//!
//! # Spans
//! Two, of `tracing`, at level `DEBUG` under the target `dispatcher::trace`, so that a subscriber at `INFO` does not pay
//! for them; ask for them with a filter such as `info,dispatcher::trace=debug`:
//!
//! | span | of | from … to |
//! |---|---|---|
//! | `send` | each message (`otel.kind` producer) | its `send` or `enqueue` to its acknowledgement or failure, or until its [`Delivery`](crate::Delivery) is dropped |
//! | `process` | each call of a handler (`otel.kind` consumer) | the call to its end |
//!
//! Their fields: `otel.name` (`send <topic>`, `process <topic>`), `otel.kind`, `messaging.system.name` (`kafka`),
//! `messaging.operation.name`, `messaging.operation.type`, `messaging.destination.name`,
//! `messaging.destination.partition.id`, `messaging.message.id`, `messaging.message.body.size`, `kafka.message.key` (if it
//! is text), `kafka.message.tombstone` (if it is one), `kafka.offset`; at a handler also `messaging.consumer.group.name`
//! and `dispatcher.attempt`; after a failure `error.type` and `otel.status_code` (`ERROR`). Of a handler's failure
//! `error.type` is `handler`, `unfit` (the payload is not what it takes), `panic`, `cancelled` (it had not ended at
//! `handler_timeout`, or when its partition went), or the type of this library's error that it returned; of a send it is
//! the broker's error code or else the [`ErrorKind`](crate::ErrorKind). With a [`TraceContext`] there are `trace_id`,
//! `span_id` and `parent_span_id`.
//!
//! # Trace context
//! A message's W3C headers `traceparent` and `tracestate` are read into the span of its handler, and
//! [`Message::trace_context`](crate::Message::trace_context) has them. None are added unless asked for:
//! [`trace_context(true)`](crate::Builder::trace_context) gives every message a `traceparent` with a span id of its own. A
//! send within a handler goes on with the trace of the handler's message; every other one begins a trace, flagged as
//! sampled. What counts as within a handler is what runs in its own future: tasks that it spawns don't belong to it, and
//! give their sends a context by [`SendMessage::trace_parent`](crate::SendMessage::trace_parent). A message that has a
//! `traceparent` header from its sender keeps that one. The Go-JSON envelope gets no headers.
//!
//! A tracing system of your own puts its context in place of this one: see [`Propagator`]. Over OpenTelemetry's API, with
//! the crates `opentelemetry` and `tracing-opentelemetry`:
//!
//! ```ignore
//! struct OpenTelemetry;
//!
//! impl Propagator for OpenTelemetry {
//!     fn inject(&self, set: &mut dyn FnMut(&str, &str)) {
//!         struct To<'a>(&'a mut dyn FnMut(&str, &str));
//!         impl Injector for To<'_> {
//!             fn set(&mut self, key: &str, value: String) {
//!                 (self.0)(key, &value);
//!             }
//!         }
//!         let context = tracing::Span::current().context();
//!         global::get_text_map_propagator(|p| p.inject_context(&context, &mut To(set)));
//!     }
//!
//!     fn extract<'m>(&self, get: &dyn Fn(&str) -> Option<&'m str>, span: &tracing::Span) {
//!         let names = ["traceparent", "tracestate", "baggage"];
//!         let found = names.iter().filter_map(|n| Some((n.to_string(), get(n)?.to_owned())));
//!         let headers: HashMap<String, String> = found.collect();
//!         let context = global::get_text_map_propagator(|p| p.extract(&headers));
//!         let _ = span.set_parent(context);
//!     }
//! }
//! ```
//!
//! # Metrics
//! With the feature `metrics`, through the facade of that name: install a recorder before `connect`.
//!
//! | metric | kind | labels |
//! |---|---|---|
#![doc = include_str!("metrics.md")]
//!
//! `topic` stands for `messaging.destination.name`, `partition` for `messaging.destination.partition.id`, `group` for
//! `messaging.consumer.group.name`; those under `messaging.` also have `messaging.system.name` (`kafka`) and
//! `messaging.operation.name` (`send`, `receive`, `process`). No label names a message or a member. Times are in seconds.
//! The lag and the messages in flight of a partition go back to 0 when it is taken away.
//!
//! # Events
//! `tracing` events under the target `dispatcher` for what concerns users, and under `dispatcher::net`,
//! `dispatcher::client`, `dispatcher::group` and `dispatcher::worker` for what goes on inside. Payloads are in none of them.

// Whatever room can be observed uses this one; what must stay true: nothing here waits, and nothing here fails.

mod context;
pub(crate) mod meter;
mod names;
mod propagator;
#[cfg(test)]
mod tests;

pub use context::TraceContext;
pub(crate) use context::{TRACEPARENT, TRACESTATE, current, within};
pub use propagator::Propagator;
pub(crate) use propagator::SharedPropagator;
