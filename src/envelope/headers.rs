//! The headers form: two short Kafka headers beside an untouched payload. Written once per message on the send path,
//! so both values live on the stack. And the names of the headers of messages that failed.

/// Names the message: a random uuid v4 in its 36-character form.
pub(crate) const ID_HEADER: &str = "dispatcher-id";
/// When `send` was called: ms since 1970, decimal. The record's own timestamp may be the caller's or the broker's.
pub(crate) const SENT_HEADER: &str = "dispatcher-sent-ms";

/// Of a message that failed, in a retry topic or among the dead letters: the topic it was sent to.
pub(crate) const ORIGIN_TOPIC: &str = "dispatcher-origin-topic";
/// Its partition there, decimal.
pub(crate) const ORIGIN_PARTITION: &str = "dispatcher-origin-partition";
/// Its offset there, decimal.
pub(crate) const ORIGIN_OFFSET: &str = "dispatcher-origin-offset";
/// Its timestamp there: ms since 1970, decimal.
pub(crate) const ORIGIN_TIMESTAMP: &str = "dispatcher-origin-timestamp-ms";
/// The Kafka group whose handler failed.
pub(crate) const FAILED_GROUP: &str = "dispatcher-failed-group";
/// Why, as text.
pub(crate) const FAILED_ERROR: &str = "dispatcher-failed-error";
/// In how many attempts, decimal.
pub(crate) const FAILED_ATTEMPTS: &str = "dispatcher-failed-attempts";
/// When: ms since 1970, decimal.
pub(crate) const FAILED_AT: &str = "dispatcher-failed-ms";

const OF_FAILED: [&str; 8] = [
    ORIGIN_TOPIC,
    ORIGIN_PARTITION,
    ORIGIN_OFFSET,
    ORIGIN_TIMESTAMP,
    FAILED_GROUP,
    FAILED_ERROR,
    FAILED_ATTEMPTS,
    FAILED_AT,
];

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether a header belongs to this library rather than to its user.
pub(crate) fn is_ours(name: &[u8]) -> bool {
    let is = |ours: &str| name == ours.as_bytes();
    name.starts_with(b"dispatcher-")
        && (is(ID_HEADER) || is(SENT_HEADER) || super::answer::NAMES.into_iter().any(is) || is_of_failed(name))
}

/// Whether a header tells of a failure.
pub(crate) fn is_of_failed(name: &[u8]) -> bool {
    name.starts_with(b"dispatcher-") && OF_FAILED.iter().any(|ours| name == ours.as_bytes())
}

/// A message id as text, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessageId([u8; 36]);

impl MessageId {
    /// A uuid v4 of 128 random bits.
    pub(crate) fn from_random(bits: u128) -> Self {
        let mut bytes = bits.to_be_bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in bytes.into_iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        Self(text)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Of a text of the right length, which need be no uuid.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        // All of it is ASCII written above; an empty text can never be seen.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number as decimal text, without an allocation; a negative one is written as 0.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(number: i64) -> Self {
        let mut digits = [b'0'; 20];
        let mut rest = number.max(0);
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// Reads what [`Decimal`] writes; anything but a plain decimal number is none.
pub(crate) fn parse_decimal(value: &[u8]) -> Option<i64> {
    let digit = |number: i64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, digit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_v4_in_its_usual_spelling() {
        assert_eq!(MessageId::from_random(0).as_str(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(MessageId::from_random(u128::MAX).as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let id = MessageId::from_random(0x1f0d4eb2_af60_0a33_0dd2_4442ff45f65c);
        assert_eq!(id.as_str(), "1f0d4eb2-af60-4a33-8dd2-4442ff45f65c");
    }

    #[test]
    fn a_decimal_reads_back() {
        for number in [0, 7, 10, 1_795_363_487_302, i64::MAX] {
            assert_eq!(parse_decimal(Decimal::new(number).as_bytes()), Some(number));
        }
        for bad in ["", "-1", "+1", "1.5", "x", "99999999999999999999"] {
            assert_eq!(parse_decimal(bad.as_bytes()), None, "{bad}");
        }
    }
}
