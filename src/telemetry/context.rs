//! W3C trace context: the two headers in which a trace travels from a send to its handler, and the context that is
//! current while a handler is polled. Read from others' messages, so nothing malformed gets in.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Which trace, which span, whether it is recorded: <https://www.w3.org/TR/trace-context/>.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// What tracing systems add to it.
pub(crate) const TRACESTATE: &str = "tracestate";

/// A longer one is left out, as the standard allows.
const MAX_STATE: usize = 512;
const SAMPLED: u8 = 1;
/// Bits of the flags that mean something: sampled, and that the trace id is random.
const KNOWN_FLAGS: u8 = 3;

/// A place in a trace: what `traceparent` and `tracestate` say. Cheap to clone.
///
/// ```
/// use dispatcher::telemetry::TraceContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context = TraceContext::parse(text, None).unwrap();
/// assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(context.to_string(), text);
/// assert!(TraceContext::parse("no such thing", None).is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<Arc<str>>,
}

impl TraceContext {
    /// Reads the two headers. `None` for a `traceparent` that is not well-formed; a `tracestate` that is not is left out.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let text = traceparent.as_bytes();
        let dashes = [2, 35, 52].iter().all(|&at| text.get(at) == Some(&b'-'));
        let (version, rest) = (hex(text.get(..2)?)?, text.get(55));
        // Later versions may add something behind another dash.
        let fits = match version {
            0 => rest.is_none(),
            0xff => false,
            _ => rest.is_none_or(|&byte| byte == b'-'),
        };
        if !dashes || !fits {
            return None;
        }
        let (trace_id, span_id) = (hex(text.get(3..35)?)?, hex(text.get(36..52)?)? as u64);
        let flags = hex(text.get(53..55)?)? as u8 & KNOWN_FLAGS;
        let usable = |state: &&str| {
            (1..=MAX_STATE).contains(&state.len()) && state.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
        };
        let state = tracestate.filter(usable).map(Arc::from);
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, flags, state })
    }

    /// The first span of a new trace.
    pub(crate) fn root(random: u128, span: u64) -> Self {
        Self { trace_id: random.max(1), span_id: span.max(1), flags: SAMPLED, state: None }
    }

    /// Another span of the same trace.
    pub(crate) fn child(&self, span: u64) -> Self {
        Self { span_id: span.max(1), ..self.clone() }
    }

    /// The trace, in 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span, in 16 hex digits.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// Whether its sender may have recorded the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// `tracestate` as it came.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// As `traceparent` has it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// A number in lower-case hex digits, as the standard wants them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

thread_local! {
    /// The context of the handler that this thread polls. As with tracing's own current span, the thread is what a send
    /// and the handler around it have in common; it is set for the length of a poll and says nothing of any dispatcher.
    static CURRENT: RefCell<Option<TraceContext>> = const { RefCell::new(None) };
}

/// The context of the handler that is being polled on this thread.
pub(crate) fn current() -> Option<TraceContext> {
    CURRENT.with(|current| current.borrow().clone())
}

/// Runs `work` with this context as the current one.
pub(crate) fn within<T>(context: Option<&TraceContext>, work: impl FnOnce() -> T) -> T {
    /// Puts the context from before back, also when `work` panics.
    struct Back(Option<TraceContext>);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.with(|current| *current.borrow_mut() = self.0.take());
        }
    }
    let Some(context) = context else { return work() };
    let _back = Back(CURRENT.with(|current| current.borrow_mut().replace(context.clone())));
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_not_well_formed_is_no_context() {
        assert!(TraceContext::parse(GOOD, None).is_some());
        for bad in [
            "",
            &GOOD[..54],
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = TraceContext::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more", None).unwrap();
        assert_eq!(later.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03");
        assert!(TraceContext::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more", None).is_none());
    }

    #[test]
    fn a_state_travels_with_the_trace_unless_it_is_too_long() {
        let context = TraceContext::parse(GOOD, Some("vendor=1")).unwrap();
        assert_eq!(context.child(7).state(), Some("vendor=1"));
        assert_eq!(context.child(7).trace_id(), context.trace_id());
        assert_eq!(TraceContext::parse(GOOD, Some(&"x".repeat(513))).unwrap().state(), None);
        assert_eq!(TraceContext::parse(GOOD, Some("new\nline")).unwrap().state(), None);
    }

    #[test]
    fn the_current_context_ends_with_the_poll_even_by_a_panic() {
        let context = TraceContext::parse(GOOD, None);
        let inner = within(context.as_ref(), current);
        assert_eq!(inner, context);
        let _ = std::panic::catch_unwind(|| within(context.as_ref(), || panic!("a handler")));
        assert_eq!(current(), None);
    }
}
