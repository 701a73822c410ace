//! The public face: configuration, sending, subscribing, administration and consume status. Owns no protocol: it
//! joins the rooms below and speaks their errors.

mod answers;
mod builder;
mod compression;
mod config;
mod core;
mod forward;
mod from_message;
mod group_id;
mod groups;
mod jaas;
#[cfg(feature = "logging")]
mod logging;
mod making;
mod message;
mod monitor_host;
mod monitor_lag;
pub(crate) mod names;
mod origin;
mod payload;
pub(crate) mod properties;
mod properties_security;
mod resubscribe;
mod routes;
mod send;
mod status;
mod subscribe;
mod subscription;
mod tail;
mod topic;
mod topic_defaults;
mod topics;
mod trace;
mod validate;

pub use answers::{CallbackError, CallbackErrors, Outcome, PendingReceipts, Receipt, SendForReceipt, SendForReceipts};
pub use builder::Builder;
pub use compression::CompressionLevels;
pub use config::{Config, PartitionerKind};
pub use core::Dispatcher;
pub use from_message::{FromMessage, Json};
pub use groups::{GroupDescription, GroupInfo, ResetTo, TopicProgress};
#[cfg(feature = "logging")]
pub use logging::{init_logging, init_logging_with_internals};
pub use message::Message;
pub use monitor_lag::MonitorLag;
pub use origin::Origin;
pub use payload::Payload;
pub use resubscribe::{Resubscribe, Resubscription};
pub use routes::{And, Route, Routes};
pub use send::{Delivery, SendMessage, SendReport};
pub use status::{ConsumeStatus, GroupMember, PartitionStatus, StatusSource};
pub use subscribe::Subscribe;
pub use subscription::{Errors, Events, Failure, Stopped, Subscription};
pub use topic::Topic;
pub use topic_defaults::TopicDefaults;
pub use topics::{CreateTopics, TopicInfo};
