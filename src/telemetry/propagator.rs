//! The seam to a tracing system of the user's: it puts its own context into messages and takes it out again.

use std::fmt;
use std::sync::Arc;

use tracing::Span;

/// Carries the trace context of a tracing system through messages' headers, in place of the built-in W3C one. Set by
/// [`Builder::propagator`](crate::Builder::propagator); see [the module](super) for one over OpenTelemetry.
///
/// Both are called on the path of every message: they must be quick and must not panic.
pub trait Propagator: Send + Sync + 'static {
    /// A message is sent: `set` adds a header, name and value. The send's span is the current one, if anybody records
    /// it, else the span around the send.
    fn inject(&self, set: &mut dyn FnMut(&str, &str));

    /// A handler is about to be called: `get` reads a header of its message, and `span` is the handler's, entered
    /// while the handler runs. Disabled if nobody records it.
    fn extract<'m>(&self, get: &dyn Fn(&str) -> Option<&'m str>, span: &Span);
}

/// A propagator shared by all clones of a dispatcher.
#[derive(Clone)]
pub(crate) struct SharedPropagator(pub(crate) Arc<dyn Propagator>);

impl fmt::Debug for SharedPropagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Propagator")
    }
}
