//! Zig-zag varints as records use them, on plain slices.

use super::RecordsError;

/// The longest varint: 64 bits in groups of 7.
pub(super) const MAX_VARINT: usize = 10;

/// Bytes that `value` takes.
#[inline]
pub(super) fn len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes `value` at the start of `out`, which is long enough, and returns how many bytes it took.
#[inline]
pub(super) fn put(out: &mut [u8], value: i64) -> usize {
    let mut rest = zigzag(value);
    let mut at = 0;
    while rest >= 0x80 {
        out[at] = rest as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    out[at] = rest as u8;
    at + 1
}

/// Reads a varint at `*pos` and moves `*pos` behind it.
#[inline]
pub(super) fn get(data: &[u8], pos: &mut usize, field: &'static str) -> Result<i64, RecordsError> {
    // Nearly all of a record's numbers have one byte or two.
    if let Some(&first) = data.get(*pos) {
        if first < 0x80 {
            *pos += 1;
            return Ok(unzigzag(u64::from(first)));
        }
        if let Some(&second) = data.get(*pos + 1)
            && second < 0x80
        {
            *pos += 2;
            return Ok(unzigzag(u64::from(first & 0x7f) | u64::from(second) << 7));
        }
    }
    get_long(data, pos, field)
}

#[cold]
fn get_long(data: &[u8], pos: &mut usize, field: &'static str) -> Result<i64, RecordsError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *data.get(*pos).ok_or(RecordsError::Malformed { field })?;
        *pos += 1;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(unzigzag(value));
        }
    }
    Err(RecordsError::Malformed { field })
}

/// Reads a varint that must fit an `i32`.
#[inline]
pub(super) fn get_i32(data: &[u8], pos: &mut usize, field: &'static str) -> Result<i32, RecordsError> {
    i32::try_from(get(data, pos, field)?).map_err(|_| RecordsError::Malformed { field })
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_got_and_len_is_right(value: i64) {
            let mut buf = [0; MAX_VARINT];
            let n = put(&mut buf, value);
            prop_assert_eq!(n, len(value));
            let mut pos = 0;
            prop_assert_eq!(get(&buf[..n], &mut pos, "v"), Ok(value));
            prop_assert_eq!(pos, n);
            prop_assert!(get(&buf[..n - 1], &mut 0, "v").is_err());
        }
    }

    #[test]
    fn an_endless_varint_is_an_error() {
        assert!(get(&[0xff; 64], &mut 0, "v").is_err());
        assert!(get_i32(&[0x80, 0x80, 0x80, 0x80, 0x10], &mut 0, "v").is_err());
    }
}
