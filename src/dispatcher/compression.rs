//! How hard the codecs try, in Kafka's numbers (KIP-390), and which topic has which codec.

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::names;
use crate::client::producer::ProducerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::records::{Compression, GZIP_LEVEL, Packing, ZSTD_LEVEL};

/// How hard the codecs that have levels try. A higher level takes more CPU, and may compress more: TUNING.md has what each
/// came to.
///
/// Snappy has no levels, and LZ4 has only its fast one here.
///
/// ```
/// let config: dispatcher::Config =
///     serde_json::from_str(r#"{"compression_levels": {"gzip": 9, "zstd": 1}}"#)?;
/// assert_eq!((config.compression_levels.gzip, config.compression_levels.zstd), (9, 1));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CompressionLevels {
    /// `compression.gzip.level`: 1 to 9. Default 6.
    pub gzip: i32,
    /// `compression.zstd.level`: −131,072 to 22; below 1 it is faster than at 1 and compresses less (−7 is the
    /// fastest there is, whatever is below), 0 is the default, and above about 9 a large batch takes tens of
    /// milliseconds or more, on the task that sends it. Default 3.
    pub zstd: i32,
}

impl Default for CompressionLevels {
    fn default() -> Self {
        Self { gzip: GZIP_LEVEL, zstd: ZSTD_LEVEL }
    }
}

/// The codecs that have levels, with Kafka's names and ranges.
const RANGES: [(&str, std::ops::RangeInclusive<i32>); 2] = [("gzip", 1..=9), ("zstd", -131_072..=22)];

impl CompressionLevels {
    fn named(&mut self, codec: &str) -> Option<&mut i32> {
        match codec {
            "gzip" => Some(&mut self.gzip),
            "zstd" => Some(&mut self.zstd),
            _ => None,
        }
    }

    /// Sets a level from its text, as a properties file has it; the error says what may be used. −1 is the default of
    /// gzip, as in Kafka.
    pub(super) fn parse(&mut self, codec: &str, text: &str) -> std::result::Result<(), String> {
        let Some((_, range)) = RANGES.iter().find(|(name, _)| *name == codec) else { return Ok(()) };
        let level = match text.parse() {
            Ok(-1) if codec == "gzip" => GZIP_LEVEL,
            Ok(level) if range.contains(&level) => level,
            _ => return Err(format!("{} to {}", range.start(), range.end())),
        };
        if let Some(place) = self.named(codec) {
            *place = level;
        }
        Ok(())
    }

    fn validate(mut self) -> Result<()> {
        for (codec, range) in &RANGES {
            match self.named(codec) {
                Some(&mut level) if !range.contains(&level) => {
                    let (least, most) = (range.start(), range.end());
                    let text = format!("compression_levels.{codec} is {level}: use {least} to {most}");
                    return Err(Error::new(ErrorKind::InvalidConfig, text));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn packing(mut self, compression: Compression) -> Packing {
        let level = self.named(names::of_compression(compression)).copied();
        Packing { compression, level: level.unwrap_or_default() }
    }
}

impl Config {
    /// Sets how a producer compresses; refuses levels that do not exist.
    pub(super) fn compress_in(&self, producer: &mut ProducerConfig) -> Result<()> {
        let levels = self.compression_levels;
        levels.validate()?;
        producer.packing = levels.packing(self.compression);
        let topics = self.topic_compression.iter();
        producer.topic_packing = topics.map(|(topic, &codec)| (topic.clone(), levels.packing(codec))).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_kept_within_kafkas_ranges() {
        let mut levels = CompressionLevels::default();
        assert_eq!((levels.gzip, levels.zstd), (6, 3));
        for (codec, good, bad) in [("gzip", "9", "10"), ("gzip", "1", "0"), ("zstd", "22", "23"), ("zstd", "-5", "x")] {
            assert_eq!(levels.parse(codec, good), Ok(()), "{codec} {good}");
            let rule = levels.parse(codec, bad).unwrap_err();
            assert!(rule.contains(" to "), "{rule}");
        }
        assert_eq!((levels.gzip, levels.zstd), (1, -5));
        levels.parse("gzip", "-1").unwrap();
        assert_eq!(levels.gzip, 6);
    }

    #[test]
    fn a_topic_has_its_own_codec_with_the_level_of_that_codec() {
        let mut config = Config::default();
        let first = crate::wire::records::Compression::all().last().unwrap_or_default();
        config.topic_compression.insert("own".into(), first);
        config.compression_levels.zstd = 7;
        config.compression_levels.gzip = 7;
        let mut producer = ProducerConfig::default();
        config.compress_in(&mut producer).unwrap();
        let own = producer.packing("own");
        assert_eq!(own.compression, first);
        assert_eq!(own.level == 7, ["gzip", "zstd"].contains(&names::of_compression(first)));
        assert_eq!(producer.packing("another"), Packing::default());
        config.compression_levels.zstd = 100;
        let error = config.compress_in(&mut producer).unwrap_err().to_string();
        assert!(error.contains("compression_levels.zstd") && error.contains("22"), "{error}");
    }
}
