//! A Kafka cluster inside the process, for tests. Uses `wire`, `env` and `error`, and nothing of the client.
#![allow(dead_code, unused_imports)]

mod groups;
