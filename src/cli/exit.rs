//! How a command ends: exit status and the one line on stderr that says why.

use crate::Error;

/// An end other than success.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) code: u8,
    /// Without the `error: ` in front; None says nothing.
    pub(super) message: Option<String>,
}

pub(super) type Outcome<T = ()> = Result<T, Exit>;

impl Exit {
    /// The command line or the properties file is wrong: 2.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: Some(message.into()) }
    }

    /// It was tried and failed: 1.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, message: Some(message.into()) }
    }

    /// What comes with a later version.
    pub(super) fn not_yet(what: &str) -> Self {
        Self::usage(format!("{what} is not supported yet: leave it out"))
    }

    /// Stdout's reader has gone: nobody is left to tell.
    pub(super) fn quiet() -> Self {
        Self { code: 0, message: None }
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::failed(error.to_string())
    }
}

/// Writing to stdout failed.
impl From<std::io::Error> for Exit {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::quiet(),
            _ => Self::failed(format!("stdout cannot be written: {error}")),
        }
    }
}
