//! One call of a handler as it is observed: its span, the context that sends within it go on with, and its time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tracing::field::Empty;
use tracing::{Level, Span};

use super::{Tracing, context_of, follow, note, note_failure, text};
use crate::dispatcher::message::Message;
use crate::env::Env;
use crate::error::Error;
use crate::telemetry::meter::{self, HandlerMeter};
use crate::telemetry::{TraceContext, within};
use crate::worker::{HandlerError, Unfit};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Observes the handlers of one subscription.
pub(in crate::dispatcher) struct Observer {
    env: Env,
    tracing: Tracing,
    group: Arc<str>,
    /// By the numbers of their topics.
    meters: Vec<HandlerMeter>,
}

/// One call that somebody wants to know of.
pub(in crate::dispatcher) struct Handling {
    traced: Option<Box<Traced>>,
    timed: Option<Timed>,
}

struct Timed {
    observer: Arc<Observer>,
    topic: usize,
    begun: Instant,
}

struct Traced {
    span: Span,
    context: Option<TraceContext>,
}

impl Observer {
    pub(in crate::dispatcher) fn new(env: Env, tracing: Tracing, group: &str, topics: &[String]) -> Arc<Self> {
        let meters = topics.iter().map(|topic| HandlerMeter::new(group, topic)).collect();
        Arc::new(Self { env, tracing, group: group.into(), meters })
    }

    /// A handler is about to be called for a message of the topic of this number.
    #[inline]
    pub(in crate::dispatcher) fn begin(self: &Arc<Self>, topic: usize, message: &Message) -> Handling {
        let traced = self.tracing.on || tracing::span_enabled!(target: "dispatcher::trace", Level::DEBUG);
        let traced = traced.then(|| self.trace(message));
        let timed = meter::ON.then(|| Timed { observer: self.clone(), topic, begun: self.env.now() });
        Handling { traced, timed }
    }

    fn span(&self, message: &Message) -> Span {
        tracing::debug_span!(
            target: "dispatcher::trace",
            parent: None,
            "process",
            otel.name = %format_args!("process {}", message.topic()),
            otel.kind = "consumer",
            otel.status_code = Empty,
            messaging.system.name = "kafka",
            messaging.operation.name = "process",
            messaging.operation.type = "process",
            messaging.destination.name = message.topic(),
            messaging.destination.partition.id = %message.partition(),
            messaging.consumer.group.name = &*self.group,
            messaging.message.id = message.id().as_deref(),
            messaging.message.body.size = message.value().map(<[u8]>::len),
            kafka.message.key = message.key().and_then(|key| std::str::from_utf8(key).ok()),
            kafka.message.tombstone = message.value().is_none().then_some(true),
            kafka.offset = message.offset(),
            dispatcher.attempt = message.attempt(),
            error.type = Empty,
            trace_id = Empty,
            span_id = Empty,
            parent_span_id = Empty,
        )
    }

    #[cold]
    fn trace(&self, message: &Message) -> Box<Traced> {
        let span = self.span(message);
        if let Some(propagator) = &self.tracing.propagator {
            propagator.0.extract(&|name| text(message, name), &span);
            return Box::new(Traced { span, context: None });
        }
        let parent = context_of(message);
        let context = (parent.is_some() || self.tracing.on).then(|| follow(&self.env, parent.as_ref()));
        if let Some(context) = &context {
            note(&span, context, parent.as_ref());
        }
        Box::new(Traced { span, context })
    }
}

impl Handling {
    /// Does a part of the handler's work, as a part of it.
    #[inline]
    pub(in crate::dispatcher) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.traced {
            Some(traced) => traced.span.in_scope(|| within(traced.context.as_ref(), work)),
            None => work(),
        }
    }

    /// Runs the handler to its end.
    #[allow(clippy::manual_async_fn, reason = "an async function's future has room for the handler's once more")]
    pub(in crate::dispatcher) fn run<F>(mut self, handler: F) -> impl Future<Output = Result<(), HandlerError>> + Send
    where
        F: Future<Output = Result<(), BoxError>> + Send,
    {
        async move {
            let mut handler = pin!(handler);
            let result = match self.traced {
                Some(_) => std::future::poll_fn(|cx| self.within(|| handler.as_mut().poll(cx))).await,
                None => handler.await,
            };
            if self.is_wanted() {
                self.end(result.as_ref().err().map(type_of));
            }
            result.map_err(HandlerError::new)
        }
    }

    fn is_wanted(&self) -> bool {
        self.traced.is_some() || self.timed.is_some()
    }

    fn end(&mut self, error: Option<&'static str>) {
        if let Some(Timed { observer, topic, begun }) = self.timed.take()
            && let Some(meter) = observer.meters.get(topic)
        {
            meter.ended(observer.env.now().saturating_duration_since(begun), error);
        }
        if let (Some(traced), Some(error)) = (self.traced.take(), error) {
            note_failure(&traced.span, error);
        }
    }
}

/// It did not come to its end: a panic, or nobody waits for it any more.
impl Drop for Handling {
    fn drop(&mut self) {
        if self.is_wanted() {
            self.end(Some(if std::thread::panicking() { "panic" } else { "cancelled" }));
        }
    }
}

fn type_of(error: &BoxError) -> &'static str {
    match error.downcast_ref::<Error>() {
        Some(error) => error.type_name(),
        None if error.is::<Unfit>() => "unfit",
        None => "handler",
    }
}
