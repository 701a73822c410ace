//! OAUTHBEARER (RFC 7628, KIP-255) with extensions (KIP-342): a token goes out, nothing comes back; or JSON comes back
//! that says why not, after which the client must answer one byte more to be told by the protocol as well.

use super::token::OauthToken;
use super::{Refusal, Step};

/// The one message: token and extensions.
pub(super) fn message(token: &OauthToken) -> Vec<u8> {
    let mut text = format!("n,,\x01auth=Bearer {}", token.value.expose());
    for (name, value) in &token.extensions {
        text.extend(["\x01", name, "=", value]);
    }
    text.push_str("\x01\x01");
    text.into_bytes()
}

/// What the server answered to it. A refusal's JSON is kept for when the protocol's error comes.
pub(super) fn challenge(bytes: &[u8], refusal: &mut Option<String>) -> Result<Step, Refusal> {
    match (bytes.is_empty(), &refusal) {
        (true, None) => Ok(Step::Done),
        (false, None) => {
            *refusal = Some(String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]).into_owned());
            Ok(Step::Send(vec![1]))
        }
        (_, Some(json)) => Err(Refusal::Refused(format!("the server says {json}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_and_extensions_are_written_as_kafka_reads_them() {
        let token = OauthToken::new("a.b.c");
        assert_eq!(message(&token), b"n,,\x01auth=Bearer a.b.c\x01\x01");
        let token = token.extension("logicalCluster", "lkc-1").extension("identityPoolId", "pool-2");
        let expected = b"n,,\x01auth=Bearer a.b.c\x01identityPoolId=pool-2\x01logicalCluster=lkc-1\x01\x01";
        assert_eq!(message(&token), expected);
    }

    #[test]
    fn a_refusal_is_answered_with_one_byte_and_told() {
        let mut refusal = None;
        assert!(matches!(challenge(b"", &mut refusal), Ok(Step::Done)));
        let step = challenge(b"{\"status\":\"invalid_token\"}", &mut refusal);
        assert!(matches!(step, Ok(Step::Send(bytes)) if bytes == [1]));
        let Err(Refusal::Refused(why)) = challenge(b"", &mut refusal) else { panic!("accepted") };
        assert!(why.contains("invalid_token"));
    }
}
