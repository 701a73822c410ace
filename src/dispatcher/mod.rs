//! The public face: configuration, sending, subscribing, administration and consume status. Owns no protocol: it
//! joins the rooms below and speaks their errors.

mod builder;
mod config;
mod core;
mod forward;
mod from_message;
mod group_id;
mod groups;
#[cfg(feature = "cli")]
mod logging;
mod message;
pub(crate) mod names;
mod origin;
mod payload;
mod properties;
mod routes;
mod send;
mod status;
mod subscribe;
mod subscription;
mod topic;
mod topic_defaults;
mod topics;
mod validate;

pub use builder::Builder;
pub use config::{Config, PartitionerKind};
pub use core::Dispatcher;
pub use from_message::{FromMessage, Json};
pub use groups::{GroupDescription, GroupInfo, ResetTo, TopicProgress};
#[cfg(feature = "cli")]
pub use logging::init_logging;
pub use message::Message;
pub use origin::Origin;
pub use payload::Payload;
pub use routes::{And, Route, Routes};
pub use send::{Delivery, SendMessage, SendReport};
pub use status::{ConsumeStatus, GroupMember, PartitionStatus};
pub use subscribe::Subscribe;
pub use subscription::{Errors, Events, Failure, Stopped, Subscription};
pub use topic::Topic;
pub use topic_defaults::TopicDefaults;
pub use topics::{CreateTopics, TopicInfo};
