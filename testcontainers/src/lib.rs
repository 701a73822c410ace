//! Real Apache Kafka brokers for tests, benches and examples.
