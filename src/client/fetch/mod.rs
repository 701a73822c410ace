//! Reading partitions: one fetch session per broker and isolation level, prefetching under one budget of bytes.
#![allow(dead_code)]

mod budget;
mod delivery;
mod fetcher;
mod session;

pub(crate) use delivery::{
    Attached, FetchError, FetchEvent, FetchFault, FetchIn, FetchOut, Fetched, FetchedBatch, Lease, OnBadBatch,
    ReadOptions, channel,
};
