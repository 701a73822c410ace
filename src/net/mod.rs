//! Bytes to and from one broker: dialling, version negotiation, framing, pipelining, time limits. Knows requests only
//! as something to encode and decode; which broker and why is decided in `client`.

mod connection;
mod driver;
mod handshake;
mod line;
mod outbox;
mod pending;
pub(crate) mod sasl;
mod secret;
mod security;
mod shared;
mod table;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod throttle;
pub(crate) mod tls;
mod versions;

pub(crate) use connection::{Connection, ConnectionConfig};
pub(crate) use pending::Pending;
pub use secret::Secret;
pub(crate) use security::Security;
