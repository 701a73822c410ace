//! Spans and trace context of sends and handlers, with OpenTelemetry's names. A message that nobody traces passes through
//! here without an allocation and without a look at its headers.

mod handle;
mod send;

pub(super) use handle::Observer;
pub(super) use send::{Sending, Subject, ended};

use super::message::Message;
use crate::env::Env;
use crate::telemetry::{SharedPropagator, TRACEPARENT, TRACESTATE, TraceContext};

/// What a dispatcher does about trace context.
#[derive(Debug, Clone, Default)]
pub(super) struct Tracing {
    /// Messages get a context, by the propagator if there is one.
    pub(super) on: bool,
    pub(super) propagator: Option<SharedPropagator>,
}

/// The last header of that name, if it is text.
fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.header(name).and_then(|value| std::str::from_utf8(value).ok())
}

/// What a message's headers say.
pub(super) fn context_of(message: &Message) -> Option<TraceContext> {
    TraceContext::parse(text(message, TRACEPARENT)?, text(message, TRACESTATE))
}

/// A span of `parent`'s trace, or the first one of a new trace.
fn follow(env: &Env, parent: Option<&TraceContext>) -> TraceContext {
    match parent {
        Some(parent) => parent.child(env.random(|rng| rng.u64(..))),
        None => {
            let (trace, span) = env.random(|rng| (rng.u128(..), rng.u64(..)));
            TraceContext::root(trace, span)
        }
    }
}

/// Notes a context in a span.
fn note(span: &tracing::Span, context: &TraceContext, parent: Option<&TraceContext>) {
    if span.is_disabled() {
        return;
    }
    span.record("trace_id", context.trace_id());
    span.record("span_id", context.span_id());
    if let Some(parent) = parent {
        span.record("parent_span_id", parent.span_id());
    }
}

/// Notes that what the span is of has failed.
fn note_failure(span: &tracing::Span, error: &str) {
    span.record("error.type", error);
    span.record("otel.status_code", "ERROR");
}
