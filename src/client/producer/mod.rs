//! The producer: records are encoded into their partition's open batch when they are appended; whoever reaches the
//! partition's leader takes batches out, writes them and settles them. A batch's records share one completion.

mod budget;
pub(crate) mod config;
pub(crate) mod delivery;
mod identity;
mod parcel;
pub(crate) mod queue;
pub(crate) mod sequencer;
mod shared;

pub(crate) use config::ProducerConfig;
pub(crate) use delivery::{Ack, Delivery};
pub(crate) use queue::{PartitionQueue, RecordParts};
