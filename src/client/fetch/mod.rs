//! Reading partitions: one fetch session per broker and isolation level, prefetching under one budget of bytes.
//! Machines: `session` (what to ask for), `pace` (how much), `table` (what an answer does), `parse`, `reading`; `lead`
//! counts what readers have not come to. Drivers: `source`, one per
//! broker and isolation level, and `fetcher`, which finds each partition its source.

mod budget;
mod config;
mod delivery;
mod fetcher;
mod lead;
mod lookup;
mod pace;
mod parse;
mod reading;
mod request;
#[cfg(feature = "rskafka")]
pub(in crate::client) mod seam;
mod session;
mod source;
mod table;
#[cfg(test)]
mod testing;

pub(crate) use config::FetchConfig;
pub use delivery::OnBadBatch;
pub(crate) use delivery::{
    Attached, FetchError, FetchEvent, FetchFault, FetchIn, FetchOut, Fetched, FetchedBatch, ReadOptions, channel,
};
pub(crate) use fetcher::Fetcher;
