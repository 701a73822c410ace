//! Kafka's `client.properties` format and names, which Kafka's users already have files of.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Config;
use super::names;
use super::properties_security::SecurityProperties;
use crate::error::{Error, ErrorKind, Result};

impl Config {
    /// Applies the text of a Kafka `client.properties` file. What it names wins over what was set before.
    ///
    /// Returns notes for the user: properties that are unknown here or have no meaning here; they are otherwise
    /// ignored. Times are in milliseconds, sizes in bytes, as Kafka has them.
    ///
    /// TLS and SASL have Kafka's names too: `security.protocol`, `ssl.*` with stores in PEM, `sasl.mechanism`, and
    /// `sasl.jaas.config` for PLAIN, SCRAM and OAUTHBEARER. A relative path is one below the current directory. A file with
    /// `security.protocol` decides on TLS and SASL whole, except for what it cannot say: an OAUTHBEARER callback, roots and
    /// certificates that were set before stay. Names of this library's own:
    ///
    /// | property | meaning |
    /// |---|---|
    /// | `dispatcher.allow.sasl.plaintext=true` | [`Builder::danger_sasl_without_tls`](super::Builder::danger_sasl_without_tls) |
    /// | `dispatcher.danger.accept.any.certificate=true` | [`Tls::danger_accept_any_certificate`](crate::Tls::danger_accept_any_certificate) |
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a malformed file, a value that does not parse, a file it names that cannot be read,
    /// and whatever would leave a connection less secure than the file says. Then nothing of the file is applied.
    ///
    /// ```
    /// let mut config = dispatcher::Config::default();
    /// let notes = config.apply_properties("bootstrap.servers=a:9092,b:9092\nlinger.ms=5\nnot.known=1")?;
    /// assert_eq!(config.brokers, ["a:9092", "b:9092"]);
    /// assert!(notes[0].contains("not.known"));
    /// # Ok::<(), dispatcher::Error>(())
    /// ```
    pub fn apply_properties(&mut self, text: &str) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let mut security = SecurityProperties::default();
        // Who goes on after an error must not go on with half of it, such as without TLS.
        let mut config = self.clone();
        for (key, value) in parse(text)? {
            if security.take(&key, value.trim()) {
                continue;
            }
            if let Some(note) = config.apply(&key, value.trim())? {
                notes.push(note);
            }
        }
        security.finish(&mut config, &mut notes)?;
        *self = config;
        Ok(notes)
    }

    fn apply(&mut self, key: &str, value: &str) -> Result<Option<String>> {
        match key {
            "bootstrap.servers" => {
                self.brokers = value.split(',').map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()).collect();
            }
            "client.id" => self.client_id = value.to_owned(),
            "group.id" => self.default_group = Some(value.to_owned()),
            "request.timeout.ms" => self.request_timeout = millis(key, value)?,
            "socket.connection.setup.timeout.ms" => self.connect_timeout = millis(key, value)?,
            "metadata.max.age.ms" => self.metadata_max_age = millis(key, value)?,
            "delivery.timeout.ms" => self.delivery_timeout = millis(key, value)?,
            "max.block.ms" => self.max_block = millis(key, value)?,
            "linger.ms" => self.linger = millis(key, value)?,
            "batch.size" => self.batch_size = number(key, value)?,
            "buffer.memory" => self.buffer_memory = number(key, value)?,
            "max.request.size" => self.max_message_size = number(key, value)?,
            "session.timeout.ms" => self.session_timeout = millis(key, value)?,
            "heartbeat.interval.ms" => self.heartbeat_interval = millis(key, value)?,
            "fetch.max.wait.ms" => self.fetch_max_wait = millis(key, value)?,
            "enable.idempotence" => {
                self.idempotence = flag(value).ok_or_else(|| invalid(key, value, "true or false"))?;
            }
            "acks" => {
                if !matches!(value, "all" | "-1") {
                    return Ok(Some(format!(
                        "property acks={value} is ignored: messages always wait for all replicas"
                    )));
                }
            }
            "compression.type" => {
                self.compression = names::compression(value).map_err(|rule| invalid(key, value, &rule))?;
            }
            "compression.gzip.level" => {
                self.compression_levels.parse("gzip", value).map_err(|rule| invalid(key, value, &rule))?;
            }
            "compression.zstd.level" => {
                self.compression_levels.parse("zstd", value).map_err(|rule| invalid(key, value, &rule))?;
            }
            "compression.lz4.level" => {
                let note = "property compression.lz4.level is ignored: LZ4 has only its fast level here";
                return Ok(Some(note.to_owned()));
            }
            "isolation.level" => {
                self.isolation = names::isolation(value).map_err(|rule| invalid(key, value, &rule))?;
            }
            "max.poll.interval.ms" => {
                let note = "property max.poll.interval.ms is ignored: slow handlers don't cost membership";
                return Ok(Some(note.to_owned()));
            }
            _ => return Ok(Some(unknown(key))),
        }
        Ok(None)
    }
}

/// The text of a properties file. Java reads them as ISO-8859-1, editors write them in UTF-8.
pub(crate) fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| e.into_bytes().into_iter().map(char::from).collect())
}

/// The note about a property that means nothing here.
pub(super) fn unknown(key: &str) -> String {
    match name_in_kafka(key) {
        Some(name) => format!("property {key} is librdkafka's name and is ignored: use {name}"),
        None => format!("property {key} is not known here and is ignored"),
    }
}

/// What librdkafka calls otherwise.
pub(super) fn name_in_kafka(key: &str) -> Option<&'static str> {
    Some(match key {
        "metadata.broker.list" => "bootstrap.servers",
        "compression.codec" => "compression.type",
        "sasl.mechanisms" => "sasl.mechanism",
        "sasl.username" | "sasl.password" => "sasl.jaas.config",
        "ssl.ca.location" => "ssl.truststore.location with ssl.truststore.type=PEM",
        "ssl.ca.pem" => "ssl.truststore.certificates with ssl.truststore.type=PEM",
        "ssl.certificate.location" | "ssl.key.location" => {
            "ssl.keystore.location, a file with both, and ssl.keystore.type=PEM"
        }
        "ssl.certificate.pem" => "ssl.keystore.certificate.chain with ssl.keystore.type=PEM",
        "ssl.key.pem" => "ssl.keystore.key with ssl.keystore.type=PEM",
        _ => return None,
    })
}

/// As Kafka reads it, in any case of letters.
pub(super) fn flag(value: &str) -> Option<bool> {
    value.to_ascii_lowercase().parse().ok()
}

fn invalid(key: &str, value: &str, rule: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("property {key} is {value:?}: use {rule}"))
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| invalid(key, value, "a whole number of 0 or more"))
}

fn millis(key: &str, value: &str) -> Result<Duration> {
    number(key, value).map(Duration::from_millis)
}

/// Java's properties format; a key that comes again wins. Windows' editors put a byte order mark before it.
fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']).enumerate();
    while let Some((at, line)) = lines.next() {
        let mut logical = line.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while is_continued(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let malformed = |what: &str| {
            Error::new(ErrorKind::InvalidConfig, format!("properties line {}: {what}: correct the file", at + 1))
        };
        let (key, value) = split(&logical).ok_or_else(|| malformed("no = between name and value"))?;
        let key = unescape(key).ok_or_else(|| malformed("a broken \\u escape"))?;
        let value = unescape(value).ok_or_else(|| malformed("a broken \\u escape"))?;
        found.insert(key, value);
    }
    Ok(found)
}

fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// At the first unescaped `=`, `:` or white space. Java takes a lone name too; here that is surely a mistake.
fn split(line: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (matches!(c, '=' | ':') || c.is_whitespace());
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    (!key.is_empty()).then_some((key, value))
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => match utf16(&mut chars)? {
                // Java's characters have 16 bits: others are written as two.
                high @ 0xd800..=0xdbff => {
                    let (Some('\\'), Some('u')) = (chars.next(), chars.next()) else { return None };
                    out.push(char::decode_utf16([high, utf16(&mut chars)?]).next()?.ok()?);
                }
                unit => out.push(char::from_u32(unit.into())?),
            },
            Some(other) => out.push(other),
            None => {}
        }
    }
    Some(out)
}

/// Four hexadecimal digits.
fn utf16(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    let digits: Option<u32> = (0..4).try_fold(0, |sum, _| Some(sum << 4 | chars.next()?.to_digit(16)?));
    digits.and_then(|code| u16::try_from(code).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_javas() {
        let text = "# note\n! note\n\na=1\n b : 2\nc 3\nd=x\\\n   y\ne\\=f=g\\u0041\\t\\\\\na=9\npath=C:\\\\x\n";
        let got = parse(text).unwrap();
        let expected = [("a", "9"), ("b", "2"), ("c", "3"), ("d", "xy"), ("e=f", "gA\t\\"), ("path", "C:\\x")];
        assert_eq!(got, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn files_of_other_editors_and_javas_two_part_characters_are_read() {
        let got = parse("\u{feff}a=1\r\nb=2\rc=\\uD83D\\uDE00\\u00e9x\\\r\n  y").unwrap();
        assert_eq!(
            got,
            [("a", "1"), ("b", "2"), ("c", "\u{1f600}éxy")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        );
        assert_eq!(decode("# é\n".into()), "# é\n");
        assert_eq!(decode(b"# \xe9\n".to_vec()), "# é\n", "as Java reads it");
    }

    #[test]
    fn what_is_refused_leaves_the_settings_as_they_were() {
        let before = Config {
            tls: Some(crate::Tls::new()),
            sasl: Some(crate::Sasl::plain("alice", "s3cret")),
            ..Config::default()
        };
        for text in ["security.protocol=SSL\nssl.truststore.location=/no/such", "client.id=x\nlinger.ms=y"] {
            let mut config = before.clone();
            config.apply_properties(text).unwrap_err();
            assert_eq!(config, before, "{text}");
        }
    }

    #[test]
    fn flags_are_read_in_any_case_and_librdkafkas_names_are_told_from_nonsense() {
        let mut config = Config::default();
        let notes = config.apply_properties("enable.idempotence=False\nmetadata.broker.list=a:1").unwrap();
        assert!(!config.idempotence);
        assert!(notes.len() == 1 && notes[0].contains("use bootstrap.servers"), "{notes:?}");
    }

    #[test]
    fn a_broken_file_is_an_error_that_names_the_line() {
        let broken = ["a=\\u12", "a=\\u+041", "a=\\uD83D", "a=\\uD83Dx", "a=\\uD83D\\u0041", "a=\\uDE00"];
        let broken = broken.map(|text| (text, "line 1"));
        for (text, line) in
            [("a=1\njunk", "line 2"), ("a=1\r\njunk", "line 2"), ("=x", "line 1")].into_iter().chain(broken)
        {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().contains(line), "{error}");
        }
    }

    #[test]
    fn kafkas_names_set_our_settings_and_the_rest_is_reported() {
        let mut config = Config::default();
        let text =
            "session.timeout.ms=6000\nisolation.level=read_uncommitted\nmax.poll.interval.ms=1\nretries=3\nacks=all\n";
        let notes = config.apply_properties(text).unwrap();
        assert_eq!(config.session_timeout, Duration::from_secs(6));
        assert_eq!(config.isolation, crate::client::Isolation::ReadUncommitted);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("max.poll.interval.ms") && notes[1].contains("retries"));
    }

    #[test]
    fn compression_has_kafkas_names_and_levels() {
        let mut config = Config::default();
        for codec in crate::wire::records::Compression::all() {
            let text = format!("compression.type={}", names::of_compression(codec));
            assert_eq!(config.apply_properties(&text).unwrap(), [""; 0]);
            assert_eq!(config.compression, codec);
        }
        let levels = "compression.gzip.level=9\ncompression.zstd.level=-3\ncompression.lz4.level=12";
        let notes = config.apply_properties(levels).unwrap();
        assert_eq!((config.compression_levels.gzip, config.compression_levels.zstd), (9, -3));
        assert!(notes.len() == 1 && notes[0].contains("compression.lz4.level"), "{notes:?}");
    }

    #[test]
    fn a_bad_value_is_an_error_that_names_the_property() {
        for (text, name) in [
            ("linger.ms=soon", "linger.ms"),
            ("batch.size=-1", "batch.size"),
            ("compression.type=brotli", "compression.type"),
            ("compression.gzip.level=10", "compression.gzip.level"),
            ("compression.zstd.level=high", "compression.zstd.level"),
        ] {
            let error = Config::default().apply_properties(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
