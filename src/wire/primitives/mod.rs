//! Kafka's primitive types over shared bytes: how they are read, written and held.

mod reader;
#[cfg(test)]
mod tests;
mod values;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use values::{Records, StrBytes};
pub(crate) use writer::{Frame, Writer};
