//! A cursor over compressed bytes: it never reads past their end.

use super::super::RecordsError;

/// What is left to read, and the error when that is too little.
pub(super) struct Input<'a> {
    pub(super) rest: &'a [u8],
    short: RecordsError,
}

impl<'a> Input<'a> {
    pub(super) fn new(rest: &'a [u8], short: RecordsError) -> Self {
        Self { rest, short }
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], RecordsError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(|| self.short.clone())?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, RecordsError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordsError> {
        Ok(self.little_endian(4)? as u32)
    }

    /// A number of up to eight bytes.
    pub(super) fn little_endian(&mut self, bytes: usize) -> Result<u64, RecordsError> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }
}
