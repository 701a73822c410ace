//! One send as it is traced: its span, and the headers that carry its context.

use tracing::field::Empty;
use tracing::{Level, Span};

use super::{Tracing, follow, note, note_failure};
use crate::client::producer::Ack;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::telemetry::{self, TRACEPARENT, TRACESTATE, TraceContext};

/// From the call of `send` until it has its place in the order.
pub(in crate::dispatcher) struct Sending {
    span: Span,
    /// To be sent along.
    headers: Vec<(String, String)>,
}

/// What is said of a message before it is sent.
pub(in crate::dispatcher) struct Subject<'a, F> {
    pub(in crate::dispatcher) topic: &'a str,
    pub(in crate::dispatcher) key: Option<&'a [u8]>,
    pub(in crate::dispatcher) value: Option<&'a [u8]>,
    /// Named by the caller.
    pub(in crate::dispatcher) parent: Option<&'a TraceContext>,
    /// Headers can be added, and the caller has none of this kind.
    pub(in crate::dispatcher) carries: F,
}

impl Sending {
    /// Begins the span, if anybody is interested, and a context, if it is to travel. Boxed, for most sends do neither.
    #[inline]
    pub(in crate::dispatcher) fn begin(
        tracing: &Tracing,
        env: &Env,
        subject: Subject<'_, impl Fn() -> bool>,
    ) -> Option<Box<Self>> {
        if !tracing.on && subject.parent.is_none() && !tracing::span_enabled!(target: "dispatcher::trace", Level::DEBUG)
        {
            return None;
        }
        Some(Self::traced(tracing, env, subject))
    }

    #[cold]
    fn traced(tracing: &Tracing, env: &Env, subject: Subject<'_, impl Fn() -> bool>) -> Box<Self> {
        let Subject { topic, key, value, parent, carries } = subject;
        let span = tracing::debug_span!(
            target: "dispatcher::trace",
            "send",
            otel.name = %format_args!("send {topic}"),
            otel.kind = "producer",
            otel.status_code = Empty,
            messaging.system.name = "kafka",
            messaging.operation.name = "send",
            messaging.operation.type = "send",
            messaging.destination.name = topic,
            messaging.destination.partition.id = Empty,
            messaging.message.id = Empty,
            messaging.message.body.size = value.map(<[u8]>::len),
            kafka.message.key = key.and_then(|key| std::str::from_utf8(key).ok()),
            kafka.message.tombstone = value.is_none().then_some(true),
            kafka.offset = Empty,
            error.type = Empty,
            trace_id = Empty,
            span_id = Empty,
            parent_span_id = Empty,
        );
        let mut sending = Box::new(Self { span, headers: Vec::new() });
        if (tracing.on || parent.is_some()) && carries() {
            sending.carry(tracing, env, parent);
        }
        sending
    }

    /// Headers to be sent along.
    #[inline]
    pub(in crate::dispatcher) fn headers(sending: &Option<Box<Self>>) -> &[(String, String)] {
        sending.as_ref().map_or(&[], |sending| &sending.headers)
    }

    fn carry(&mut self, tracing: &Tracing, env: &Env, parent: Option<&TraceContext>) {
        let headers = &mut self.headers;
        if let (Some(propagator), None) = (&tracing.propagator, parent) {
            let mut set = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
            self.span.in_scope(|| propagator.0.inject(&mut set));
            return;
        }
        let parent = parent.cloned().or_else(telemetry::current);
        let context = follow(env, parent.as_ref());
        note(&self.span, &context, parent.as_ref());
        headers.push((TRACEPARENT.to_owned(), context.to_string()));
        headers.extend(context.state().map(|state| (TRACESTATE.to_owned(), state.to_owned())));
    }

    /// It has its place in the order, or was refused. What is left to trace, boxed, for most sends are not traced.
    pub(in crate::dispatcher) fn placed(self, placed: Result<(Option<&str>, i32), &Error>) -> Option<Box<Span>> {
        if self.span.is_disabled() {
            return None;
        }
        match placed {
            Ok((id, partition)) => {
                self.span.record("messaging.message.id", id);
                self.span.record("messaging.destination.partition.id", partition.to_string());
                Some(Box::new(self.span))
            }
            Err(error) => {
                note_failure(&self.span, error.type_name());
                None
            }
        }
    }
}

/// The send has ended.
pub(in crate::dispatcher) fn ended(span: &Span, result: &Result<Ack>) {
    match result {
        Ok(ack) => {
            span.record("kafka.offset", ack.offset);
        }
        Err(error) => note_failure(span, error.type_name()),
    }
}
