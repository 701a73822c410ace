//! The one public error: opaque, cheap to clone, with a kind to match on and a message that says what to do.
//! Every room builds it; nothing public returns any other error type.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::wire::ErrorCode;

type Source = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, for code that decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing, out of range, or contradicts another one.
    InvalidConfig,
    /// An argument (topic name, group id, key, size, partition) breaks one of Kafka's limits. Nothing was sent.
    InvalidArgument,
    /// No broker could be reached, or a connection was lost and could not be restored in time.
    Connection,
    /// A stated limit of time ran out.
    Timeout,
    /// The peer sent bytes that are not Kafka's protocol, or that break its rules.
    Protocol,
    /// The cluster does not offer an API or version that is needed.
    UnsupportedVersion,
    /// The topic or partition does not exist (and was not to be created).
    UnknownTopic,
    /// A message is larger than the client or the topic allows.
    MessageTooLarge,
    /// A send failed and the message is certainly not in the log.
    NotWritten,
    /// A send failed and the message may or may not be in the log, or may still come there: until the brokers have answered
    /// what was under way, or its `request_timeout` is over.
    MaybeWritten,
    /// A fetched record batch cannot be read: bad CRC, over the size cap, unknown magic or codec.
    CorruptBatch,
    /// Authentication or authorization was refused.
    Auth,
    /// TLS with a broker cannot come about: its certificate is not to be trusted or not for this host, it refuses ours, or
    /// the two have no version in common. No retry mends it.
    Tls,
    /// The group refused this member for good (fenced, inconsistent protocol, invalid id).
    Group,
    /// A handler returned an error or panicked.
    Handler,
    /// The dispatcher, subscription or connection was closed by this side.
    Closed,
    /// The broker answered with any other Kafka error; see [`Error::kafka_code`].
    Broker,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    code: Option<ErrorCode>,
    retriable: bool,
    message: Cow<'static, str>,
    source: Option<Source>,
}

/// Any failure of this library.
///
/// `Display` says what happened and what to do; [`kind`](Error::kind) is for matching; `source()` is the cause.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `message` reads "what happened: what to do", without a final stop.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let retriable = matches!(kind, ErrorKind::Connection | ErrorKind::Timeout);
        Self(Arc::new(Inner { kind, code: None, retriable, message: message.into(), source: None }))
    }

    /// An error the broker answered with. `context` names the call and its subject, such as `Produce to orders-3`.
    pub(crate) fn from_code(code: ErrorCode, context: impl fmt::Display) -> Self {
        let advice = match code {
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE => {
                ": it is older than Kafka 2.1 and knows no zstd, so choose another compression or upgrade it"
            }
            _ => "",
        };
        let message = format!("{context}: the broker answered {} ({}){advice}", code.name(), code.0);
        Self(Arc::new(Inner {
            kind: code.kind(),
            code: Some(code),
            retriable: code.is_retriable(),
            message: message.into(),
            source: None,
        }))
    }

    /// The same error with another kind and a message in front; the first one becomes the source.
    pub(crate) fn wrap(self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let (code, retriable) = (self.0.code, self.0.retriable);
        Self(Arc::new(Inner { kind, code, retriable, message: message.into(), source: Some(Arc::new(self)) }))
    }

    /// The same error with the broker's code, for one that sums up several.
    pub(crate) fn with_code(mut self, code: Option<ErrorCode>) -> Self {
        Arc::make_mut(&mut self.0).code = code;
        self
    }

    /// The same error, marked as one whose cause may pass by itself.
    pub(crate) fn may_pass(mut self) -> Self {
        Arc::make_mut(&mut self.0).retriable = true;
        self
    }

    /// Attaches a cause.
    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Kafka's numeric error code, if a broker sent one.
    pub fn kafka_code(&self) -> Option<i16> {
        self.0.code.map(|c| c.0)
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.0.code
    }

    /// One of few words, for traces and metrics: the broker's error code, else the kind.
    pub(crate) fn type_name(&self) -> &'static str {
        if let Some(code) = self.0.code {
            return code.name();
        }
        match self.0.kind {
            ErrorKind::InvalidConfig => "invalid_config",
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::Connection => "connection",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Protocol => "protocol",
            ErrorKind::UnsupportedVersion => "unsupported_version",
            ErrorKind::UnknownTopic => "unknown_topic",
            ErrorKind::MessageTooLarge => "message_too_large",
            ErrorKind::NotWritten => "not_written",
            ErrorKind::MaybeWritten => "maybe_written",
            ErrorKind::CorruptBatch => "corrupt_batch",
            ErrorKind::Auth => "auth",
            ErrorKind::Tls => "tls",
            ErrorKind::Group => "group",
            ErrorKind::Handler => "handler",
            ErrorKind::Closed => "closed",
            ErrorKind::Broker => "broker",
        }
    }

    /// Whether a broker and this client do not come together, for reasons that lie in settings of either.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Auth | ErrorKind::Tls)
    }

    /// Whether the cause may pass by itself, so that the same call may succeed later without any change. A message whose
    /// send ended as [`MaybeWritten`](ErrorKind::MaybeWritten) may be in the log already: sent again it may be there twice.
    pub fn is_retriable(&self) -> bool {
        self.0.retriable
    }

    /// Whether somebody has to change something first (settings, rights, the group's other members), or what was called is
    /// closed. A subscription ends with such an error; a [`Dispatcher`](crate::Dispatcher) stays of use, but after
    /// [`Closed`](ErrorKind::Closed).
    pub fn is_fatal(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Closed | ErrorKind::Auth | ErrorKind::Group | ErrorKind::InvalidConfig)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}
