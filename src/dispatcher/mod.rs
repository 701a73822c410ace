//! The public face: configuration, sending, subscribing, administration and consume status. Owns no protocol: it
//! joins the rooms below and speaks their errors.
#![allow(dead_code, unused_imports, reason = "integrating")]

mod config;
mod group_id;
mod names;
mod properties;
mod topic_defaults;
mod validate;

pub use config::{Config, PartitionerKind};
pub use topic_defaults::TopicDefaults;
