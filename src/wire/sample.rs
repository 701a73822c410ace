//! Random values of every message for the tests, and how much memory a value holds.

use bytes::Bytes;

use super::field::At;
#[cfg(test)]
use super::message::Request;
use super::primitives::{Records, StrBytes};
use super::{ErrorCode, Uuid};

/// Entropy that runs dry: then everything is zero, empty or null, so that values end and proptest can shrink them.
pub(crate) struct Gen {
    entropy: Vec<u8>,
    at: usize,
}

impl Gen {
    #[cfg(test)]
    pub(crate) fn new(entropy: Vec<u8>) -> Self {
        Self { entropy, at: 0 }
    }

    fn u8(&mut self) -> u8 {
        self.at += 1;
        self.entropy.get(self.at - 1).copied().unwrap_or(0)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        match self.u8() % 4 {
            0 => [0; N],
            1 => [0xff; N],
            _ => std::array::from_fn(|_| self.u8()),
        }
    }

    fn blob(&mut self) -> Vec<u8> {
        // Now and then long enough to be spliced instead of copied.
        let len = if self.u8() == 0xff { 2_000 } else { usize::from(self.u8() % 9) };
        (0..len).map(|_| self.u8()).collect()
    }
}

/// Any request that the version can carry.
#[cfg(test)]
pub(crate) fn request<R: Request + Sample>(entropy: Vec<u8>, version: i16) -> R {
    R::sample(&mut Gen::new(entropy), At { version, flexible: version >= R::FLEXIBLE }, false)
}

pub(crate) trait Sample: Sized {
    /// Any value that the version can carry; `null` tells whether `None` is one.
    fn sample(g: &mut Gen, at: At, null: bool) -> Self;

    /// Bytes of memory behind the value, itself and slices of the frame not counted.
    fn weight(&self) -> usize {
        0
    }
}

macro_rules! samples {
    ($($t:ty: |$g:ident| $value:expr;)*) => { $(
        impl Sample for $t {
            fn sample($g: &mut Gen, _: At, _: bool) -> Self {
                $value
            }
        }
    )* };
}

samples! {
    bool: |g| g.u8() & 1 == 1;
    i8: |g| g.u8() as i8;
    i16: |g| i16::from_be_bytes(g.bytes());
    i32: |g| i32::from_be_bytes(g.bytes());
    i64: |g| i64::from_be_bytes(g.bytes());
    ErrorCode: |g| ErrorCode(i16::from_be_bytes(g.bytes()));
    Uuid: |g| Uuid(g.bytes());
    StrBytes: |g| String::from_utf8_lossy(&g.blob()).into_owned().into();
    Bytes: |g| g.blob().into();
}

impl Sample for Records {
    fn sample(g: &mut Gen, _: At, _: bool) -> Self {
        Records((0..g.u8() % 3).map(|_| g.blob().into()).collect())
    }

    fn weight(&self) -> usize {
        self.0.capacity() * size_of::<Bytes>()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(g: &mut Gen, at: At, _: bool) -> Self {
        (0..g.u8() % 4).map(|_| T::sample(g, at, false)).collect()
    }

    fn weight(&self) -> usize {
        self.capacity() * size_of::<T>() + self.iter().map(T::weight).sum::<usize>()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(g: &mut Gen, at: At, null: bool) -> Self {
        (!null || g.u8() & 1 == 1).then(|| T::sample(g, at, false))
    }

    fn weight(&self) -> usize {
        self.as_ref().map_or(0, T::weight)
    }
}
