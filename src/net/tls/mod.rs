//! TLS to the brokers. `config.rs` is what a user says, `connector.rs` what becomes of it for one cluster, `session.rs`
//! and `stream.rs` a connection's bytes, `failure.rs` what went wrong in words. [`Connection`](super::Connection) secures a stream right
//! after dialling, and nothing behind it knows.

#[cfg(not(feature = "tls"))]
mod absent;
mod config;
#[cfg(feature = "tls")]
mod connector;
#[cfg(feature = "tls")]
mod failure;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod session;
#[cfg(feature = "tls")]
mod stream;
#[cfg(all(test, feature = "tls"))]
mod tests;
#[cfg(feature = "tls")]
mod verify;

#[cfg(not(feature = "tls"))]
pub(super) use absent::Connector;
pub use config::{Tls, TlsVersion};
#[cfg(feature = "tls")]
pub(super) use connector::Connector;
