//! SASL: who this client is. `settings.rs` and `token.rs` are what a user says; `mechanism.rs`, `scram.rs`,
//! `oauthbearer.rs` and `hash.rs` the mechanisms as machines; `exchange.rs` speaks them with a broker, on a fresh
//! connection and, by `keeper.rs`, on one whose session is about to end (KIP-368). Secrets are in no message, event or
//! `Debug`.

mod exchange;
mod hash;
mod keeper;
mod mechanism;
mod oauthbearer;
mod scram;
mod settings;
#[cfg(test)]
mod tests;
mod token;

use crate::error::{Error, ErrorKind};

pub(crate) use exchange::Authenticator;
pub(super) use exchange::offered;
pub(super) use keeper::keep;
pub use settings::Sasl;
pub use token::OauthToken;

/// What a mechanism wants next.
#[derive(Debug)]
enum Step {
    /// Send this.
    Send(Vec<u8>),
    /// Salt the password and come back with the result.
    Salt { hash: hash::Hash, salt: Vec<u8>, iterations: u32 },
    /// Nothing: both sides are content.
    Done,
}

/// Why this client breaks an exchange off.
#[derive(Debug)]
enum Refusal {
    /// What the server sent is not what the mechanism has it send.
    Protocol(String),
    /// The mechanism itself carried the server's refusal.
    Refused(String),
    /// Of SCRAM.
    Iterations { asked: u64, least: u32, most: u32 },
    /// Of SCRAM: the server cannot prove that it knows the password.
    WrongSignature,
}

impl Refusal {
    fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }

    fn error(self, peer: &str, who: &str) -> Error {
        let message = match self {
            Self::Protocol(what) => format!("{peer} sent {what}: check that it is the broker you mean"),
            Self::Refused(why) => format!("{peer} does not let {who} in: {why}: check the credentials"),
            Self::Iterations { asked, least, most } => format!(
                "{peer} wants {asked} SCRAM iterations for {who}, and {least} to {most} are accepted: store the user's \
                 credentials with a number in between"
            ),
            Self::WrongSignature => format!(
                "{peer} could not prove that it knows the password of {who}: its SCRAM signature is wrong, so that it \
                 may not be the broker you mean"
            ),
        };
        Error::new(ErrorKind::Auth, message)
    }
}
