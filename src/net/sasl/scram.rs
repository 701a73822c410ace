//! SCRAM (RFC 5802, RFC 7677) as Kafka speaks it: no channel binding, no authorization id of its own. A machine: what
//! the server says goes in, what to say next comes out. User name and password are taken as their UTF-8 bytes, as
//! Kafka's own client and tools do; RFC 5802's SASLprep is left out on both sides, so that one applied here alone would
//! shut users out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::hash::Hash;
use super::{Refusal, Step};

/// RFC 7677's least, which is Kafka's too. Fewer make guessing a password from a recorded exchange cheap.
const LEAST_ITERATIONS: u32 = 4096;
/// Kafka's own tools store at most 16,384; a hostile server could ask for hours of work.
const MOST_ITERATIONS: u32 = 1_000_000;
/// So long may a server's message be; Kafka's have some hundred bytes.
const MOST_BYTES: usize = 64 << 10;

/// One exchange.
pub(super) struct Scram {
    hash: Hash,
    state: State,
}

enum State {
    /// From: start.
    First { nonce: String, bare: String },
    /// The password is to be salted. From: First.
    Salting { auth: String, reply: String },
    /// From: Salting.
    Final { server_key: Vec<u8>, auth: String },
    /// The server has proved that it knows the password, or something went wrong. From: all.
    Over,
}

impl Scram {
    /// The machine and its first message. The nonce is printable and has no comma.
    pub(super) fn begin(hash: Hash, user: &str, token: bool, nonce: String) -> (Self, Vec<u8>) {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        // KIP-48: the user is a delegation token's id, the password its HMAC.
        let extension = if token { ",tokenauth=true" } else { "" };
        let bare = format!("n={user},r={nonce}{extension}");
        let message = format!("n,,{bare}").into_bytes();
        (Self { hash, state: State::First { nonce, bare } }, message)
    }

    /// What the server said.
    pub(super) fn challenge(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        let text = std::str::from_utf8(bytes).ok().filter(|t| t.len() <= MOST_BYTES);
        let text = text.ok_or_else(|| Refusal::protocol("a SCRAM message that is no text"))?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::First { nonce, bare } => {
                let first = ServerFirst::read(text, &nonce)?;
                let reply = format!("c=biws,r={}", first.nonce);
                let auth = format!("{bare},{text},{reply}");
                let step = Step::Salt { hash: self.hash, salt: first.salt, iterations: first.iterations };
                self.state = State::Salting { auth, reply };
                Ok(step)
            }
            State::Final { server_key, auth } => {
                let signature = match attribute(text, 0) {
                    Some(('v', signature)) => BASE64_STANDARD.decode(signature).ok(),
                    Some(('e', error)) => return Err(Refusal::Refused(format!("the server says {error:?}"))),
                    _ => None,
                };
                let signature = signature.ok_or_else(|| Refusal::protocol("a SCRAM message without a signature"))?;
                if !self.hash.verify(&server_key, &[auth.as_bytes()], &signature) {
                    return Err(Refusal::WrongSignature);
                }
                Ok(Step::Done)
            }
            State::Salting { .. } | State::Over => Err(Refusal::protocol("a SCRAM message out of turn")),
        }
    }

    /// After [`Step::Salt`]: the proof to send.
    pub(super) fn salted(&mut self, password: &[u8]) -> Result<Vec<u8>, Refusal> {
        let State::Salting { auth, reply } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(Refusal::protocol("a SCRAM message out of turn"));
        };
        let client_key = self.hash.hmac(password, &[b"Client Key"]);
        let signature = self.hash.hmac(&self.hash.hash(&client_key), &[auth.as_bytes()]);
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(k, s)| k ^ s).collect();
        let message = format!("{reply},p={}", BASE64_STANDARD.encode(proof)).into_bytes();
        self.state = State::Final { server_key: self.hash.hmac(password, &[b"Server Key"]), auth };
        Ok(message)
    }
}

struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn read(text: &'a str, ours: &str) -> Result<Self, Refusal> {
        let broken = |what: &str| Refusal::protocol(format!("a SCRAM message {what}"));
        let nonce = match attribute(text, 0) {
            Some(('r', nonce)) => nonce,
            Some(('e', error)) => return Err(Refusal::Refused(format!("the server says {error:?}"))),
            // RFC 5802: an extension that is not understood must fail the exchange.
            Some(('m', _)) => return Err(broken("that demands an extension which is not known here")),
            _ => return Err(broken("without a nonce")),
        };
        let printable = |c: char| c.is_ascii_graphic() && c != ',';
        if !nonce.starts_with(ours) || nonce.len() == ours.len() || !nonce.chars().all(printable) {
            return Err(broken("whose nonce does not continue this client's: somebody may be in between"));
        }
        let salt = match attribute(text, 1) {
            Some(('s', salt)) => BASE64_STANDARD.decode(salt).ok().filter(|s| !s.is_empty()),
            _ => None,
        };
        let salt = salt.ok_or_else(|| broken("without a salt"))?;
        let iterations = match attribute(text, 2) {
            Some(('i', number)) => number.parse::<u64>().ok(),
            _ => None,
        };
        let iterations = iterations.ok_or_else(|| broken("without a number of iterations"))?;
        match u32::try_from(iterations) {
            Ok(n @ LEAST_ITERATIONS..=MOST_ITERATIONS) => Ok(Self { nonce, salt, iterations: n }),
            _ => Err(Refusal::Iterations { asked: iterations, least: LEAST_ITERATIONS, most: MOST_ITERATIONS }),
        }
    }
}

/// The name and value of the message's n-th part.
fn attribute(text: &str, n: usize) -> Option<(char, &str)> {
    let (name, value) = text.split(',').nth(n)?.split_once('=')?;
    let mut chars = name.chars();
    Some((chars.next()?, value)).filter(|_| chars.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::super::hash::Hi;
    use super::*;

    fn salted(step: Step, password: &str) -> Vec<u8> {
        let Step::Salt { hash, salt, iterations } = step else { panic!("not asked for the password") };
        Hi::new(hash, password.as_bytes(), &salt, iterations).advance(u32::MAX).unwrap()
    }

    /// RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_rfc_goes_as_it_says() {
        let (mut scram, first) = Scram::begin(Hash::Sha256, "user", false, "rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let step = scram.challenge(server.as_bytes()).unwrap();
        let last = scram.salted(&salted(step, "pencil")).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8(last).unwrap(), expected);
        let server = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert!(matches!(scram.challenge(server), Ok(Step::Done)));
        assert!(scram.challenge(server).is_err(), "nothing follows");
    }

    fn asked(server: &str) -> Result<Step, Refusal> {
        Scram::begin(Hash::Sha512, "user", false, "abc".into()).0.challenge(server.as_bytes())
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let (mut scram, _) = Scram::begin(Hash::Sha512, "user", false, "abc".into());
        let step = scram.challenge(b"r=abcdef,s=c2FsdA==,i=4096").unwrap();
        scram.salted(&salted(step, "pencil")).unwrap();
        let forged = BASE64_STANDARD.encode([7; 64]);
        assert!(matches!(scram.challenge(format!("v={forged}").as_bytes()), Err(Refusal::WrongSignature)));
    }

    #[test]
    fn too_few_and_too_many_iterations_are_refused_before_any_work() {
        assert!(matches!(asked("r=abcdef,s=c2FsdA==,i=4096"), Ok(Step::Salt { iterations: 4096, .. })));
        assert!(matches!(asked("r=abcdef,s=c2FsdA==,i=1000000"), Ok(Step::Salt { .. })));
        for number in ["0", "1", "4095", "1000001", "4294967296", "18446744073709551615"] {
            let refused = asked(&format!("r=abcdef,s=c2FsdA==,i={number}"));
            assert!(matches!(refused, Err(Refusal::Iterations { .. })), "{number}");
        }
    }

    #[test]
    fn what_a_server_may_not_say_ends_the_exchange() {
        for server in [
            "",
            "r=abc,s=c2FsdA==,i=4096",
            "r=xbcdef,s=c2FsdA==,i=4096",
            "r=abcdéf,s=c2FsdA==,i=4096",
            "r=abcdef,s=!!,i=4096",
            "r=abcdef,s=,i=4096",
            "r=abcdef,i=4096",
            "r=abcdef,s=c2FsdA==",
            "r=abcdef,s=c2FsdA==,i=-4096",
            "r=abcdef,s=c2FsdA==,i=4096.5",
            "m=ext,r=abcdef,s=c2FsdA==,i=4096",
            "s=c2FsdA==,r=abcdef,i=4096",
            "v=c2FsdA==",
        ] {
            assert!(matches!(asked(server), Err(Refusal::Protocol(_))), "{server}");
        }
        assert!(matches!(asked("e=unknown-user"), Err(Refusal::Refused(why)) if why.contains("unknown-user")));
        let (mut scram, _) = Scram::begin(Hash::Sha512, "user", false, "abc".into());
        assert!(scram.challenge(&[0xff; 20]).is_err());
        assert!(scram.salted(b"salted").is_err(), "out of turn");
    }

    #[test]
    fn no_bytes_of_a_server_break_the_machine() {
        let seeds = ["r=abcdef,s=c2FsdA==,i=4096", "e=other-error", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="];
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..50_000 {
            let mut bytes = seeds[rng.usize(..seeds.len())].as_bytes().to_vec();
            for _ in 0..rng.usize(..4) {
                let at = rng.usize(..=bytes.len());
                match rng.u8(..3) {
                    0 => bytes.insert(at, rng.u8(..)),
                    1 => bytes.truncate(at),
                    _ if at < bytes.len() => bytes[at] = rng.u8(..),
                    _ => {}
                }
            }
            let (mut scram, _) = Scram::begin(Hash::Sha256, "user", false, "abc".into());
            if let Ok(Step::Salt { iterations, .. }) = scram.challenge(&bytes) {
                assert!((LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations));
                scram.salted(b"salted").unwrap();
                assert!(scram.challenge(&bytes).is_err(), "nobody knows the password");
            }
        }
    }

    #[test]
    fn names_with_commas_and_equal_signs_are_escaped_and_tokens_say_what_they_are() {
        let (_, first) = Scram::begin(Hash::Sha256, "a=b,c=2C", true, "n".into());
        assert_eq!(first, b"n,,n=a=3Db=2Cc=3D2C,r=n,tokenauth=true");
    }
}
