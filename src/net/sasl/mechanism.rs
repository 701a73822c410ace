//! The mechanisms behind one face, for `exchange.rs`.

use super::oauthbearer;
use super::scram::Scram;
use super::settings::{Kind, Sasl};
use super::token::OauthToken;
use super::{Refusal, Step};

/// One exchange under way.
pub(super) enum Mechanism {
    Plain,
    Scram(Scram),
    Oauthbearer { refusal: Option<String> },
}

impl Mechanism {
    /// The machine and what to send first. `token` is there for OAUTHBEARER; `nonce` is for SCRAM.
    pub(super) fn begin(sasl: &Sasl, token: Option<&OauthToken>, nonce: impl FnOnce() -> String) -> (Self, Vec<u8>) {
        match (&sasl.kind, token) {
            (Kind::Plain { user, password }, _) => {
                // RFC 4616, without an authorization id.
                (Self::Plain, format!("\0{user}\0{}", password.expose()).into_bytes())
            }
            (Kind::Scram { hash, user, delegation_token, .. }, _) => {
                let (scram, first) = Scram::begin(*hash, user, *delegation_token, nonce());
                (Self::Scram(scram), first)
            }
            (Kind::Oauthbearer(_), token) => {
                let first = token.map(oauthbearer::message).unwrap_or_default();
                (Self::Oauthbearer { refusal: None }, first)
            }
        }
    }

    /// What the server said.
    pub(super) fn challenge(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        match self {
            // Whatever a server says after PLAIN says nothing.
            Self::Plain => Ok(Step::Done),
            Self::Scram(scram) => scram.challenge(bytes),
            Self::Oauthbearer { refusal } => oauthbearer::challenge(bytes, refusal),
        }
    }

    /// After [`Step::Salt`].
    pub(super) fn salted(&mut self, password: &[u8]) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Scram(scram) => scram.salted(password),
            _ => Err(Refusal::protocol("a SASL message out of turn")),
        }
    }

    /// What the server said before the protocol's own error.
    pub(super) fn refusal(&self) -> Option<&str> {
        match self {
            Self::Oauthbearer { refusal } => refusal.as_deref(),
            _ => None,
        }
    }
}
