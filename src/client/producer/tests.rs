//! Promises of the producer as a whole.

mod live;
mod sim;
