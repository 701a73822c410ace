//! Promises of the producer as a whole.

mod live;
