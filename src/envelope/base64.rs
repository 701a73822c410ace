//! Base64 exactly as Go's `encoding/json` reads and writes `[]byte`: standard alphabet, padding required, line
//! breaks ignored, unused trailing bits ignored.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const GO: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if text.iter().any(|b| matches!(b, b'\n' | b'\r')) {
        let kept: Vec<u8> = text.iter().copied().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
        return GO.decode(kept).ok();
    }
    GO.decode(text).ok()
}

pub(super) fn encode_into(bytes: &[u8], out: &mut String) {
    GO.encode_string(bytes, out);
}
