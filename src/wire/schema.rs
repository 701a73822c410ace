//! What a declaration says about itself, held against Kafka's own schemas (`tests/fixtures/kafka-schemas`).

use super::field::Spec;

/// The type of a field as the declaration has it.
#[derive(Debug)]
pub(crate) enum Type {
    /// A primitive, by Kafka's name.
    Plain(&'static str),
    /// `Option`.
    Nullable(&'static Type),
    /// `Vec`.
    Array(&'static Type),
    /// Fields: spec, type, and the default as Rust prints it.
    Struct(&'static [(Spec, Type, fn() -> String)]),
}
