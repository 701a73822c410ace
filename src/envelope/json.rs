//! Reads JSON the way Go's `encoding/json` does: the whole text is checked, bad UTF-8 becomes U+FFFD, names match in
//! any case, nesting is bounded. Values are slices of the input; nothing is built that is not asked for.

use std::borrow::Cow;

/// Go's limit; nesting costs one byte a level here.
const MAX_DEPTH: usize = 10_000;

/// The text is not JSON, or not of the asked type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch;

type Result<T> = std::result::Result<T, Mismatch>;

/// Calls `member` with each name and raw value of the one object that `text` consists of, in order. The text is valid
/// JSON only if this returns Ok: members come before the end is checked.
pub(super) fn object<'a>(text: &'a [u8], mut member: impl FnMut(Cow<'a, str>, &'a [u8])) -> Result<()> {
    let mut scan = Scan { text, pos: 0 };
    scan.space();
    scan.expect(b'{')?;
    scan.space();
    if !scan.eat(b'}') {
        loop {
            let name = scan.name()?;
            let value = scan.value()?;
            member(unquote(name), value);
            scan.space();
            if scan.eat(b'}') {
                break;
            }
            scan.expect(b',')?;
            scan.space();
        }
    }
    scan.space();
    if scan.pos == text.len() { Ok(()) } else { Err(Mismatch) }
}

/// The elements of an array that was checked before.
pub(super) fn array(text: &[u8]) -> Result<Vec<&[u8]>> {
    let mut scan = Scan { text, pos: 0 };
    scan.expect(b'[')?;
    scan.space();
    let mut elements = Vec::new();
    if scan.eat(b']') {
        return Ok(elements);
    }
    loop {
        elements.push(scan.value()?);
        scan.space();
        if scan.eat(b']') {
            return Ok(elements);
        }
        scan.expect(b',')?;
        scan.space();
    }
}

/// The text of a JSON string, quotes included.
pub(super) fn string(raw: &[u8]) -> Result<Cow<'_, str>> {
    Ok(unquote(inside(raw)?))
}

/// What stands between the quotes, escapes untouched.
pub(super) fn inside(raw: &[u8]) -> Result<&[u8]> {
    match raw {
        [b'"', inside @ .., b'"'] => Ok(inside),
        _ => Err(Mismatch),
    }
}

/// Whether Go would match `name` to the field `field` (ASCII): any case, and the two letters that fold to ASCII.
pub(super) fn same_name(name: &str, field: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(field);
    }
    let folded = name.chars().map(|c| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(field.chars().map(|c| c.to_ascii_lowercase()))
}

/// Resolves escapes; a lone surrogate and each byte of invalid UTF-8 become U+FFFD.
fn unquote(inside: &[u8]) -> Cow<'_, str> {
    if !inside.contains(&b'\\')
        && let Ok(text) = std::str::from_utf8(inside)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(&first) = rest.first() {
        if first == b'\\' {
            let (c, used) = escape(rest);
            out.push(c);
            rest = &rest[used..];
            continue;
        }
        let plain = rest.iter().position(|&b| b == b'\\').unwrap_or(rest.len());
        push_lossy(&rest[..plain], &mut out);
        rest = &rest[plain..];
    }
    Cow::Owned(out)
}

/// One U+FFFD for each bad byte, as Go (`from_utf8_lossy` merges some).
pub(super) fn push_lossy(mut bytes: &[u8], out: &mut String) {
    loop {
        match std::str::from_utf8(bytes) {
            Ok(text) => return out.push_str(text),
            Err(e) => {
                let (good, bad) = bytes.split_at(e.valid_up_to());
                out.push_str(std::str::from_utf8(good).unwrap_or_default());
                out.push('\u{fffd}');
                bytes = &bad[1..];
            }
        }
    }
}

/// The character an escape stands for and the bytes it takes; `text` starts with a backslash and was checked.
fn escape(text: &[u8]) -> (char, usize) {
    let c = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let high = hex4(text).unwrap_or(0xfffd);
            if let Some(c) = char::from_u32(high) {
                return (c, 6);
            }
            // A surrogate: it needs its other half right behind it.
            return match text.get(6..).and_then(hex4) {
                Some(low @ 0xdc00..=0xdfff) if high < 0xdc00 => {
                    let joined = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    (char::from_u32(joined).unwrap_or('\u{fffd}'), 12)
                }
                _ => ('\u{fffd}', 6),
            };
        }
        Some(&other) => char::from(other),
        None => return ('\u{fffd}', 1),
    };
    (c, 2)
}

/// The number of a `\uXXXX` at the start of `text`.
fn hex4(text: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = text else { return None };
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0, |n, &d| Some(n * 16 + char::from(d).to_digit(16)?))
}

struct Scan<'a> {
    text: &'a [u8],
    pos: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.pos += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { Err(Mismatch) }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.pos += 1;
        }
    }

    /// A member's name without its quotes, and past the colon.
    fn name(&mut self) -> Result<&'a [u8]> {
        let start = self.pos + 1;
        self.string()?;
        let name = &self.text[start..self.pos - 1];
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(name)
    }

    /// Any value, without recursion.
    fn value(&mut self) -> Result<&'a [u8]> {
        let start = self.pos;
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek().ok_or(Mismatch)? {
                opening @ (b'{' | b'[') => {
                    self.pos += 1;
                    self.space();
                    // The object around this value is a level too.
                    if open.len() + 2 > MAX_DEPTH {
                        return Err(Mismatch);
                    }
                    let closing = opening + 2; // `{` `}` and `[` `]` are two apart in ASCII.
                    if !self.eat(closing) {
                        open.push(closing);
                        if closing == b'}' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => return Err(Mismatch),
            }
            // A value has ended; close what ends with it.
            loop {
                let Some(&closing) = open.last() else { return Ok(&self.text[start..self.pos]) };
                self.space();
                if self.eat(b',') {
                    self.space();
                    if closing == b'}' {
                        self.name()?;
                    }
                    break;
                }
                self.expect(closing)?;
                open.pop();
            }
        }
    }

    fn string(&mut self) -> Result<()> {
        self.expect(b'"')?;
        loop {
            match self.peek().ok_or(Mismatch)? {
                b'"' => {
                    self.pos += 1;
                    return Ok(());
                }
                b'\\' => {
                    let rest = &self.text[self.pos..];
                    self.pos += match rest.get(1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        Some(b'u') if hex4(rest).is_some() => 6,
                        _ => return Err(Mismatch),
                    };
                }
                0..=0x1f => return Err(Mismatch),
                _ => self.pos += 1,
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _signed = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.pos;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
        if self.pos > start { Ok(()) } else { Err(Mismatch) }
    }

    fn word(&mut self, word: &[u8]) -> Result<()> {
        if !self.text[self.pos..].starts_with(word) {
            return Err(Mismatch);
        }
        self.pos += word.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_object(text: &[u8]) -> bool {
        object(text, |_, _| ()).is_ok()
    }

    #[test]
    fn objects_are_checked_to_their_end() {
        for good in ["{}", " { } ", r#"{"a":[1,-2.5e+3,{"b":null}],"c":"\u00e9"}"#, "{\"a\":[[],[{}]]}\n"] {
            assert!(is_object(good.as_bytes()), "{good}");
        }
        for bad in ["", "{", "{}x", "[]", "{,}", r#"{"a"}"#, r#"{"a":}"#, r#"{"a":01}"#, r#"{"a":1,}"#, r#"{"a":[1}"#] {
            assert!(!is_object(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded_as_in_go() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(is_object(nested(9_999).as_bytes()));
        assert!(!is_object(nested(10_000).as_bytes()));
        assert!(!is_object("{\"a\":[".repeat(100_000).as_bytes()));
    }

    #[test]
    fn strings_read_as_go_reads_them() {
        let read = |raw: &[u8]| string(raw).unwrap().into_owned();
        assert_eq!(read(br#""a\n\/\u4efb\ud83d\ude00""#), "a\n/任😀");
        assert_eq!(read(br#""x\ud800y\udc00""#), "x\u{fffd}y\u{fffd}");
        assert_eq!(read(b"\"\xe2\x84\""), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn names_match_in_any_case() {
        assert!(same_name("taskid", "TaskID") && same_name("TASKID", "TaskID"));
        assert!(same_name("Ta\u{17f}\u{212a}ID", "TaskID"));
        assert!(!same_name("TaskI", "TaskID") && !same_name("Tásk", "Task"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = object(&bytes, |_, value| { let _ = (string(value), array(value)); });
        }

        #[test]
        fn what_serde_json_writes_is_accepted(text in "\\PC{0,40}", number in any::<f64>()) {
            let value = serde_json::json!({ text.as_str(): [number, text], "n": { "m": [] } });
            prop_assert!(is_object(value.to_string().as_bytes()));
        }
    }
}
