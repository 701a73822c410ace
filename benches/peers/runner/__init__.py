"""Runs clients of Kafka beside each other, keeps what they print, and makes benches/RESULTS.md of it."""
