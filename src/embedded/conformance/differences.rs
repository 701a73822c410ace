//! Where the embedded cluster does not answer as Kafka does, and why that is meant.

/// One answer that differs.
#[derive(Debug)]
pub(super) struct Difference {
    /// Kafka's versions.
    pub(super) on: &'static [&'static str],
    pub(super) scenario: &'static str,
    /// As the transcript has it.
    pub(super) asked: &'static str,
    pub(super) embedded: &'static str,
    pub(super) kafka: &'static str,
    pub(super) why: &'static str,
}

/// All of them.
pub(super) const DIFFERENCES: &[Difference] = &[];
