//! Reading partitions: one fetch session per broker and isolation level, prefetching under one budget of bytes.
#![allow(dead_code)]

mod budget;
mod session;
