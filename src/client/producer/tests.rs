//! Promises of the producer as a whole.
#![allow(clippy::disallowed_methods, clippy::async_yields_async)]

mod sim;
