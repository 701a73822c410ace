//! What SCRAM computes: H, HMAC and Hi of RFC 5802 over SHA-256 and SHA-512. Hi, which is slow on purpose, goes in
//! portions, so that whoever drives it can let other tasks run between them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// Which hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// Runs `$body` with `$h` as the hash function's type.
macro_rules! with_hash {
    ($hash:expr, $h:ident => $body:expr) => {
        match $hash {
            Hash::Sha256 => {
                type $h = Sha256;
                $body
            }
            Hash::Sha512 => {
                type $h = Sha512;
                $body
            }
        }
    };
}

impl Hash {
    pub(super) fn hash(self, bytes: &[u8]) -> Vec<u8> {
        with_hash!(self, H => H::digest(bytes).to_vec())
    }

    /// HMAC over the parts one after the other.
    pub(super) fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        with_hash!(self, H => {
            let mut mac = keyed::<Hmac<H>>(key);
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        })
    }

    /// Whether `tag` is the HMAC over the parts; takes the same time wherever they differ.
    pub(super) fn verify(self, key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
        with_hash!(self, H => {
            let mut mac = keyed::<Hmac<H>>(key);
            parts.iter().for_each(|part| mac.update(part));
            mac.verify_slice(tag).is_ok()
        })
    }
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length: RFC 2104")]
fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Hi(password, salt, iterations), that is PBKDF2 with one block, under way.
pub(super) struct Hi {
    state: State,
    left: u32,
}

enum State {
    Sha256(Rounds<Hmac<Sha256>>),
    Sha512(Rounds<Hmac<Sha512>>),
}

struct Rounds<M> {
    keyed: M,
    last: Vec<u8>,
    sum: Vec<u8>,
}

impl<M: Mac + KeyInit + Clone> Rounds<M> {
    fn begin(password: &[u8], salt: &[u8]) -> Self {
        let keyed: M = keyed(password);
        let mut mac = keyed.clone();
        mac.update(salt);
        mac.update(&1u32.to_be_bytes());
        let first = mac.finalize().into_bytes().to_vec();
        Self { keyed, sum: first.clone(), last: first }
    }

    fn run(&mut self, rounds: u32) {
        for _ in 0..rounds {
            let mut mac = self.keyed.clone();
            mac.update(&self.last);
            self.last.copy_from_slice(&mac.finalize().into_bytes());
            self.sum.iter_mut().zip(&self.last).for_each(|(sum, byte)| *sum ^= byte);
        }
    }
}

impl Hi {
    /// `iterations` is at least 1.
    pub(super) fn new(hash: Hash, password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let state = match hash {
            Hash::Sha256 => State::Sha256(Rounds::begin(password, salt)),
            Hash::Sha512 => State::Sha512(Rounds::begin(password, salt)),
        };
        Self { state, left: iterations.saturating_sub(1) }
    }

    /// Goes on by at most so many iterations; the salted password once all are done.
    pub(super) fn advance(&mut self, most: u32) -> Option<Vec<u8>> {
        let rounds = self.left.min(most);
        self.left -= rounds;
        let sum = match &mut self.state {
            State::Sha256(state) => {
                state.run(rounds);
                &state.sum
            }
            State::Sha512(state) => {
                state.run(rounds);
                &state.sum
            }
        };
        (self.left == 0).then(|| sum.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn hi(hash: Hash, password: &str, salt: &str, iterations: u32, step: u32) -> String {
        let mut hi = Hi::new(hash, password.as_bytes(), salt.as_bytes(), iterations);
        loop {
            if let Some(done) = hi.advance(step) {
                return hex(&done);
            }
        }
    }

    /// RFC 7914, section 11.
    #[test]
    fn hi_is_pbkdf2_of_one_block() {
        assert!(hi(Hash::Sha256, "passwd", "salt", 1, 9).starts_with("55ac046e56e3089fec1691c22544b605"));
        assert!(hi(Hash::Sha256, "Password", "NaCl", 80_000, 1_000).starts_with("4ddcd8f60b98be21830cee5ef22701f9"));
    }

    #[test]
    fn portions_of_any_size_give_the_same() {
        let whole = hi(Hash::Sha512, "password", "salt", 4096, 4096);
        assert!(whole.starts_with("d197b1b33db0143e018b12f3d1d1479e"), "{whole}");
        assert_eq!(hi(Hash::Sha512, "password", "salt", 4096, 7), whole);
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_that_of_the_rfc_and_verifies_itself_only() {
        let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        let tag = Hash::Sha256.hmac(b"Jefe", &parts);
        assert_eq!(hex(&tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(Hash::Sha256.verify(b"Jefe", &parts, &tag));
        assert!(!Hash::Sha256.verify(b"Jeff", &parts, &tag));
        assert!(!Hash::Sha256.verify(b"Jefe", &parts, &tag[..31]));
    }
}
