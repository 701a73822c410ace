//! XXH32 with seed 0, the checksum of LZ4 frames. Specification: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.

const P1: u32 = 0x9e37_79b1;
const P2: u32 = 0x85eb_ca77;
const P3: u32 = 0xc2b2_ae3d;
const P4: u32 = 0x27d4_eb2f;
const P5: u32 = 0x1656_67b1;

pub(super) fn hash(data: &[u8]) -> u32 {
    let (stripes, mut tail) = data.as_chunks::<16>();
    let mut h = if stripes.is_empty() {
        P5
    } else {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0u32.wrapping_sub(P1)];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<4>().0) {
                *lane = round(*lane, u32::from_le_bytes(*word));
            }
        }
        let [a, b, c, d] = lanes;
        a.rotate_left(1).wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18))
    };
    h = h.wrapping_add(data.len() as u32);
    while let Some((word, rest)) = tail.split_first_chunk::<4>() {
        h = h.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(P3)).rotate_left(17).wrapping_mul(P4);
        tail = rest;
    }
    for &byte in tail {
        h = h.wrapping_add(u32::from(byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    h = (h ^ (h >> 15)).wrapping_mul(P2);
    h = (h ^ (h >> 13)).wrapping_mul(P3);
    h ^ (h >> 16)
}

#[inline]
fn round(lane: u32, word: u32) -> u32 {
    lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(13).wrapping_mul(P1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn hashes_as_the_specification_says() {
        assert_eq!(super::hash(b""), 0x02cc_5d05);
        assert_eq!(super::hash(b"a"), 0x550d_7456);
        assert_eq!(super::hash(b"abc"), 0x32d1_53ff);
        assert_eq!(super::hash(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }
}
