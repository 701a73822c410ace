//! What can go wrong between bytes and values. Both errors name the message and the path to the field, so that a
//! report from a user's log is enough to find the declaration.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DecodeFault {
    /// The frame ends inside the field.
    Truncated {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length is negative, or longer than what is left of the frame.
    Length(i64),
    /// Null where the version allows none.
    Null,
    /// A string that is not UTF-8.
    NotUtf8,
    /// A varint of more bytes than its type has.
    Varint,
    /// Bytes left over where the value ends.
    Trailing(usize),
    /// A version nobody declared.
    Version(i16),
}

/// Why a value could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EncodeFault {
    /// A value other than the default in a field which the version does not carry.
    NotInVersion(i16),
    /// `None` where the version allows no null.
    Null(i16),
    /// Longer than the protocol's length field can say.
    TooLong(usize),
    /// A version nobody declared.
    Version(i16),
}

/// Where in which message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Place {
    message: &'static str,
    path: Vec<&'static str>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.message.is_empty() { "value" } else { self.message })?;
        // Collected from the innermost field outwards.
        self.path.iter().rev().try_for_each(|field| write!(f, ".{field}"))
    }
}

macro_rules! placed_error {
    ($(#[$doc:meta])* $name:ident($fault:ident)) => {
        $(#[$doc])*
        // Boxed: it is on the error path of every field, and the good path should stay small.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $name(Box<($fault, Place)>);

        impl $name {
            /// An error that does not know yet where it happened.
            #[cold]
            pub(crate) fn new(fault: $fault) -> Self {
                Self(Box::new((fault, Place::default())))
            }

            /// Adds the field the failing value belongs to; called from the innermost outwards.
            #[cold]
            pub(crate) fn in_field(mut self, field: &'static str) -> Self {
                self.0.1.path.push(field);
                self
            }

            /// Names the message; the outermost call wins.
            #[cold]
            pub(crate) fn in_message(mut self, message: &'static str) -> Self {
                self.0.1.message = message;
                self
            }
        }

        impl std::error::Error for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}: {}", self.0.1, self.0.0)
            }
        }
    };
}

placed_error! {
    /// Bytes that are no valid message.
    DecodeError(DecodeFault)
}
placed_error! {
    /// A value that cannot be written at the asked version.
    EncodeError(EncodeFault)
}

#[cfg(test)]
impl DecodeError {
    /// What is wrong.
    pub(crate) fn fault(&self) -> &DecodeFault {
        &self.0.0
    }
}

impl fmt::Display for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, left } => write!(f, "needs {needed} bytes, {left} are left"),
            Self::Length(n) => write!(f, "impossible length {n}"),
            Self::Null => f.write_str("null where none is allowed"),
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::Varint => f.write_str("varint too long"),
            Self::Trailing(n) => write!(f, "{n} bytes left over"),
            Self::Version(v) => write!(f, "unknown version {v}"),
        }
    }
}

impl fmt::Display for EncodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInVersion(v) => write!(f, "version {v} does not carry this field, yet it is set"),
            Self::Null(v) => write!(f, "version {v} allows no null here"),
            Self::TooLong(n) => write!(f, "{n} bytes or elements are more than the protocol can say"),
            Self::Version(v) => write!(f, "unknown version {v}"),
        }
    }
}

impl From<DecodeError> for Error {
    fn from(e: DecodeError) -> Self {
        Error::new(ErrorKind::Protocol, "a broker's bytes are not valid Kafka protocol").with_source(e)
    }
}

impl From<EncodeError> for Error {
    fn from(e: EncodeError) -> Self {
        Error::new(ErrorKind::Protocol, "a request cannot be written for this broker's version").with_source(e)
    }
}
