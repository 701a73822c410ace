//! The Go dispatcher's JSON envelope: one object with every field always there, in a fixed order. Written byte for
//! byte as Go writes it; read as forgivingly as Go reads it, and where Go would drop a record or die, it is none.

use std::borrow::Cow;

use super::json::{self, Mismatch};
use super::{GoTime, base64};

/// One Go envelope. Field names are Go's; `value` None is Go's nil slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GoMessage<'a> {
    pub(crate) task_id: Cow<'a, str>,
    pub(crate) topic: Cow<'a, str>,
    /// The key's bytes; text that is not UTF-8 is written with one U+FFFD for each bad byte.
    pub(crate) key: Cow<'a, [u8]>,
    pub(crate) value: Option<Cow<'a, [u8]>>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) consumer_group_id: Cow<'a, str>,
    pub(crate) consumer_error_str: Cow<'a, str>,
    pub(crate) producer_sent_time: GoTime,
    pub(crate) consumer_received_time: GoTime,
    pub(crate) consumer_finish_time: GoTime,
    pub(crate) producer_received_time: GoTime,
    pub(crate) is_reply_message: bool,
    pub(crate) is_send_error: bool,
}

/// The envelope as Go writes it.
pub(crate) fn encode(m: &GoMessage<'_>) -> String {
    let payload = m.value.as_ref().map_or(4, |v| v.len().div_ceil(3) * 4);
    let mut out = String::with_capacity(payload + m.key.len() + m.topic.len() + 460);
    out.push('{');
    text(&mut out, "TaskID", m.task_id.as_bytes());
    text(&mut out, "Topic", m.topic.as_bytes());
    text(&mut out, "Key", &m.key);
    name(&mut out, "Value");
    match &m.value {
        Some(value) => {
            out.push('"');
            base64::encode_into(value, &mut out);
            out.push('"');
        }
        None => out.push_str("null"),
    }
    plain(&mut out, "Partition", &m.partition);
    plain(&mut out, "Offset", &m.offset);
    text(&mut out, "ConsumerGroupID", m.consumer_group_id.as_bytes());
    text(&mut out, "ConsumerErrorStr", m.consumer_error_str.as_bytes());
    text(&mut out, "ProducerSentTime", m.producer_sent_time.to_string().as_bytes());
    text(&mut out, "ConsumerReceivedTime", m.consumer_received_time.to_string().as_bytes());
    text(&mut out, "ConsumerFinishTime", m.consumer_finish_time.to_string().as_bytes());
    text(&mut out, "ProducerReceivedTime", m.producer_received_time.to_string().as_bytes());
    plain(&mut out, "IsReplyMessage", &m.is_reply_message);
    plain(&mut out, "IsSendError", &m.is_send_error);
    out.push('}');
    out
}

fn name(out: &mut String, name: &str) {
    if out.len() > 1 {
        out.push(',');
    }
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

fn plain(out: &mut String, field: &str, value: &impl ToString) {
    name(out, field);
    out.push_str(&value.to_string());
}

/// A string as Go's HTML-safe encoder writes it.
fn text(out: &mut String, field: &str, value: &[u8]) {
    name(out, field);
    out.push('"');
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => out.push(c),
            }
        }
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}

/// Reads a record of an error topic that [`recognise`] takes for a raw payload: v1.14 sends one without a TaskID where a
/// callback fails with an old JSON record. Elsewhere such an object is a user's own.
pub(crate) fn recognise_error(value: &[u8]) -> Option<GoMessage<'static>> {
    let m = read(value).ok()?.message;
    (m.task_id.is_empty() && !m.consumer_error_str.is_empty()).then_some(m)
}

/// Reads a record's value as an envelope of any Go version; None where it is a raw payload.
///
/// Most payloads are ruled out without being parsed: those that don't begin with an object at once, and objects that
/// cannot contain one of the two names that make an envelope in two vectorised passes.
pub(crate) fn recognise(value: &[u8]) -> Option<GoMessage<'static>> {
    let start = value.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n'))?;
    if value[start] != b'{' || !may_name_it(value) {
        return None;
    }
    parse(value).ok().flatten()
}

/// The same envelope byte for byte, but that it asks for nothing; `None` where nothing is asked for.
pub(crate) fn without_wishes(value: &[u8]) -> Option<Vec<u8>> {
    recognise(value).filter(|m| m.is_reply_message || m.is_send_error)?;
    let mut wishes = Vec::new();
    json::object(value, |name, raw| {
        let is_wish = json::same_name(&name, "IsReplyMessage") || json::same_name(&name, "IsSendError");
        if is_wish && raw == b"true" {
            wishes.push(raw.as_ptr().addr() - value.as_ptr().addr());
        }
    })
    .ok()?;
    let (mut rest, mut told) = (0, Vec::with_capacity(value.len() + wishes.len()));
    for at in wishes {
        told.extend_from_slice(&value[rest..at]);
        told.extend_from_slice(b"false");
        rest = at + b"true".len();
    }
    told.extend_from_slice(&value[rest..]);
    Some(told)
}

/// False only if neither `TaskID` nor `ErrStr` can be among the names, in any case, escaped or with folding letters.
/// Every message's payload comes through here: two passes rule out most objects at a few hundredths of a ns per byte, the
/// third nearly all others.
fn may_name_it(value: &[u8]) -> bool {
    (has_six_letters(value) || memchr::memchr3(b'\\', 0xc5, 0xe2, value).is_some()) && has_letters(value)
}

/// Whether quotes are seven bytes apart, as around either name, and the third byte between them is its `s` or `r`.
fn has_six_letters(value: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(found) = wide::has_six_letters(value) {
        return found;
    }
    look_for_six_letters(value)
}

/// The same, by the vectors that every processor of its kind has.
fn look_for_six_letters(value: &[u8]) -> bool {
    // In whole vectors: what is left of the text is looked at together with the bytes before it.
    let least = match value.last_chunk::<39>() {
        Some(end) => least_difference(&value[..7 + ((value.len() - 7) & !31)]).min(least_difference(end)),
        None => least_difference(value),
    };
    least == 0
}

/// The same, by vectors twice as wide, which most processors have, but no compiler may suppose.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::sync::LazyLock;

    use memchr::arch::all::packedpair::Pair;
    use memchr::arch::x86_64::avx2::packedpair::Finder;

    /// After so many quotes that are as far apart, to begin anew behind each costs more than the other look at the rest.
    const MOST_TRIES: u32 = 8;

    static QUOTES: LazyLock<Option<Finder>> = LazyLock::new(|| {
        let name = br#""ErrStr""#;
        Finder::with_pair(name, Pair::with_indices(name, 0, 7)?)
    });

    /// `None` where the processor has no such vectors.
    pub(super) fn has_six_letters(value: &[u8]) -> Option<bool> {
        let quotes = QUOTES.as_ref()?;
        let mut rest = value;
        for _ in 0..MOST_TRIES {
            if rest.len() < quotes.min_haystack_len() {
                break;
            }
            let Some(at) = quotes.find_prefilter(rest) else { return Some(false) };
            if rest.get(at + 3).is_some_and(|third| third | 0x21 == b's') {
                return Some(true);
            }
            rest = rest.get(at + 1..)?;
        }
        Some(super::look_for_six_letters(rest))
    }
}

/// 0 where that is so. Differences instead of comparisons: a third of the instructions.
#[inline(always)]
fn least_difference(value: &[u8]) -> u8 {
    let (Some(third), Some(closing)) = (value.get(3..), value.get(7..)) else { return u8::MAX };
    let differences = value
        .iter()
        .zip(third)
        .zip(closing)
        .map(|((&opening, &third), &closing)| (opening ^ b'"') | (closing ^ b'"') | ((third | 0x21) ^ b's'));
    differences.fold(u8::MAX, u8::min)
}

fn has_letters(value: &[u8]) -> bool {
    let (Some(second), Some(third)) = (value.get(1..), value.get(2..)) else { return false };
    value.iter().zip(second).zip(third).fold(false, |found, ((&a, &b), &c)| {
        let kid = (a | 32 == b'k') & (b | 32 == b'i') & (c | 32 == b'd');
        let tr = (a | 32 == b't') & (b | 32 == b'r') & (c == b'"');
        let other_spelling = (a == b'\\') | (a == 0xc5) | (a == 0xe2);
        found | kid | tr | other_spelling
    })
}

/// An object's fields, envelope or not.
struct Fields<'a> {
    message: GoMessage<'static>,
    /// Those of the old error form.
    old: (Option<&'a [u8]>, Option<&'a [u8]>),
}

/// `Err`: not JSON, or a known field of another type, which Go drops. `Ok(None)`: an object, but no envelope.
fn parse(value: &[u8]) -> Result<Option<GoMessage<'static>>, Mismatch> {
    let Fields { message, old: (old_message, err_str) } = read(value)?;
    if !message.task_id.is_empty() {
        return Ok(Some(message));
    }
    old_error(old_message, err_str)
}

fn read(value: &[u8]) -> Result<Fields<'_>, Mismatch> {
    let mut m = GoMessage::default();
    let (mut message, mut err_str) = (None, None);
    let mut typed = Ok(());
    json::object(value, |name, raw| {
        if json::same_name(&name, "Message") {
            message = Some(raw);
        } else if json::same_name(&name, "ErrStr") {
            err_str = Some(raw);
        } else if let Err(e) = field(&mut m, &name, raw) {
            typed = Err(e);
        }
    })?;
    typed?;
    Ok(Fields { message: m, old: (message, err_str) })
}

/// Errors of v1.10.12 and before: `{"Message":{…,"Value":"…"},"ErrStr":"…"}`. Go dies on one without `Message`.
fn old_error(message: Option<&[u8]>, err_str: Option<&[u8]>) -> Result<Option<GoMessage<'static>>, Mismatch> {
    let (Some(message), Some(err_str)) = (message, err_str) else { return Ok(None) };
    let mut m = GoMessage::default();
    set_text(&mut m.consumer_error_str, err_str)?;
    if m.consumer_error_str.is_empty() || message == b"null" {
        return Ok(None);
    }
    let mut typed = Ok(());
    json::object(message, |name, raw| {
        let outcome = match () {
            () if json::same_name(&name, "Key") => bytes(raw).map(|key| m.key = key.unwrap_or_default().into()),
            () if json::same_name(&name, "Value") => bytes(raw).map(|value| m.value = value.map(Cow::Owned)),
            () if json::same_name(&name, "Topic") => set_text(&mut m.topic, raw),
            () if json::same_name(&name, "Partition") => set_number(&mut m.partition, raw),
            () if json::same_name(&name, "Offset") => set_number(&mut m.offset, raw),
            () => Ok(()),
        };
        if let Err(e) = outcome {
            typed = Err(e);
        }
    })?;
    typed?;
    Ok(Some(m))
}

fn field(m: &mut GoMessage<'static>, name: &str, raw: &[u8]) -> Result<(), Mismatch> {
    let is = |field: &str| json::same_name(name, field);
    match name.len() {
        // The longest known name has 20 letters; two of them may take two and three bytes in another spelling.
        0..3 | 31.. => Ok(()),
        _ if is("TaskID") => set_text(&mut m.task_id, raw),
        _ if is("Topic") => set_text(&mut m.topic, raw),
        _ if is("Key") => {
            if raw != b"null" {
                m.key = Cow::Owned(json::string(raw)?.into_owned().into_bytes());
            }
            Ok(())
        }
        _ if is("Value") => bytes(raw).map(|value| m.value = value.map(Cow::Owned)),
        _ if is("Partition") => set_number(&mut m.partition, raw),
        _ if is("Offset") => set_number(&mut m.offset, raw),
        _ if is("ConsumerGroupID") => set_text(&mut m.consumer_group_id, raw),
        _ if is("ConsumerErrorStr") => set_text(&mut m.consumer_error_str, raw),
        _ if is("ProducerSentTime") => set_time(&mut m.producer_sent_time, raw),
        _ if is("ConsumerReceivedTime") => set_time(&mut m.consumer_received_time, raw),
        _ if is("ConsumerFinishTime") => set_time(&mut m.consumer_finish_time, raw),
        _ if is("ProducerReceivedTime") => set_time(&mut m.producer_received_time, raw),
        _ if is("IsReplyMessage") => set_bool(&mut m.is_reply_message, raw),
        _ if is("IsSendError") => set_bool(&mut m.is_send_error, raw),
        _ => Ok(()),
    }
}

// In Go null leaves a field as it was, except that it empties a slice.

fn set_text(field: &mut Cow<'static, str>, raw: &[u8]) -> Result<(), Mismatch> {
    if raw != b"null" {
        *field = Cow::Owned(json::string(raw)?.into_owned());
    }
    Ok(())
}

fn set_number<T: std::str::FromStr>(field: &mut T, raw: &[u8]) -> Result<(), Mismatch> {
    if raw != b"null" {
        *field = std::str::from_utf8(raw).ok().and_then(|text| text.parse().ok()).ok_or(Mismatch)?;
    }
    Ok(())
}

fn set_bool(field: &mut bool, raw: &[u8]) -> Result<(), Mismatch> {
    match raw {
        b"true" => *field = true,
        b"false" => *field = false,
        b"null" => {}
        _ => return Err(Mismatch),
    }
    Ok(())
}

/// Go parses a time's raw text: escapes in it are not resolved.
fn set_time(field: &mut GoTime, raw: &[u8]) -> Result<(), Mismatch> {
    if raw != b"null" {
        *field = GoTime::parse(json::inside(raw)?).ok_or(Mismatch)?;
    }
    Ok(())
}

/// A byte slice: base64, an array of numbers, or null.
fn bytes(raw: &[u8]) -> Result<Option<Vec<u8>>, Mismatch> {
    if raw == b"null" {
        return Ok(None);
    }
    if raw.first() == Some(&b'[') {
        let number = |raw: &[u8]| {
            let mut byte = 0u8;
            set_number(&mut byte, raw).map(|()| byte)
        };
        return json::array(raw)?.into_iter().map(number).collect::<Result<_, _>>().map(Some);
    }
    base64::decode(json::string(raw)?.as_bytes()).map(Some).ok_or(Mismatch)
}

#[cfg(test)]
mod tests;
