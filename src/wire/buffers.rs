//! Buffers of large frames, to be used again: memory fresh from the system costs a page fault for every 4 KiB, which is
//! more than what is read into it does. `frames` takes them, and decompression; they come back when the last slice of
//! what is in them is dropped, wherever that is. What must stay true: what waits here is bounded, for all connections of
//! a client together, and nothing waits once no large frames are to be expected; a buffer is never much larger than was
//! asked for, because memory is accounted for by what is in it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Bytes, BytesMut};

/// Smaller frames are left to the allocator, which keeps such memory itself.
pub(crate) const LARGE: usize = 128 << 10;
/// Most bytes that wait to be used again, where they are of more than one buffer.
const MAX_IDLE: usize = 9 << 20;
/// The largest buffer that waits, and then it does so alone: a message of 10 MiB fits in.
const MAX_ALONE: usize = 11 << 20;

/// Those of one client; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Idle>>);

#[derive(Debug)]
struct Idle {
    /// The one that came back last stands last. As much as one's length is initialised.
    buffers: VecDeque<BytesMut>,
    bytes: usize,
    /// No large frames are to be expected: what comes back is not kept.
    quiet: bool,
}

impl Default for Idle {
    fn default() -> Self {
        Self { buffers: VecDeque::new(), bytes: 0, quiet: true }
    }
}

impl Buffers {
    /// An empty buffer for at least `size` bytes, and for a thirtieth more at most.
    pub(super) fn take(&self, size: usize) -> BytesMut {
        let capacity = rounded(size);
        let used = {
            let mut idle = locked(&self.0);
            idle.quiet = false;
            idle.take(size, capacity)
        };
        match used {
            Some(mut buffer) => {
                buffer.clear();
                buffer
            }
            None => BytesMut::with_capacity(capacity),
        }
    }

    /// `size` bytes that may be written to, whatever is in them, and a thirtieth more at most, but no more than `most`.
    /// What is written there does not tell whether large frames are to be expected: they do that.
    #[cfg(any(test, feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd"))]
    pub(super) fn room(&self, size: usize, most: usize) -> BytesMut {
        if size < LARGE {
            return BytesMut::zeroed(size);
        }
        let capacity = rounded(size).min(most).max(size);
        let used = locked(&self.0).take(size, capacity);
        match used {
            Some(mut buffer) => {
                buffer.resize(buffer.capacity(), 0);
                buffer
            }
            None => BytesMut::zeroed(capacity),
        }
    }

    /// A frame that comes back when nobody holds any of it any more.
    pub(super) fn lend(&self, buffer: BytesMut) -> Bytes {
        self.lend_first(buffer.len(), buffer)
    }

    /// The first `used` bytes of a buffer, the same way.
    pub(super) fn lend_first(&self, used: usize, buffer: BytesMut) -> Bytes {
        Bytes::from_owner(Lent { buffer, used, home: Arc::downgrade(&self.0) })
    }

    /// What is not needed any more.
    pub(super) fn give_back(&self, buffer: BytesMut) {
        if buffer.capacity() >= LARGE {
            // Given to the system when nobody waits for the lock.
            let gone = locked(&self.0).keep(buffer);
            drop(gone);
        }
    }

    /// Bytes that wait to be used again.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        locked(&self.0).bytes
    }

    /// The largest of the buffers that wait.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn largest(&self) -> usize {
        locked(&self.0).buffers.iter().map(BytesMut::capacity).max().unwrap_or(0)
    }

    /// Gives what waits to the system, and what comes back until the next large frame.
    pub(super) fn clear(&self) {
        let idle = std::mem::take(&mut *locked(&self.0));
        drop(idle);
    }
}

impl Idle {
    /// The one that came back last of those that are as large.
    fn take(&mut self, least: usize, most: usize) -> Option<BytesMut> {
        let at = self.buffers.iter().rposition(|b| (least..=most).contains(&b.capacity()))?;
        let buffer = self.buffers.remove(at)?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps a buffer; what has to go for it.
    fn keep(&mut self, buffer: BytesMut) -> Vec<BytesMut> {
        let mut gone = Vec::new();
        if self.quiet || buffer.capacity() > MAX_ALONE {
            gone.push(buffer);
            return gone;
        }
        self.bytes += buffer.capacity();
        self.buffers.push_back(buffer);
        while self.bytes > MAX_IDLE
            && self.buffers.len() > 1
            && let Some(oldest) = self.buffers.pop_front()
        {
            self.bytes -= oldest.capacity();
            gone.push(oldest);
        }
        gone
    }
}

struct Lent {
    buffer: BytesMut,
    used: usize,
    home: Weak<Mutex<Idle>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            Buffers(home).give_back(std::mem::take(&mut self.buffer));
        }
    }
}

fn locked(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In steps of a thirtieth or so, so that buffers of frames that are about as large can take each other's place.
fn rounded(size: usize) -> usize {
    let step = (size.next_power_of_two() / 64).max(4 << 10);
    size.div_ceil(step).saturating_mul(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(buffers: &Buffers) -> (usize, usize) {
        let idle = locked(&buffers.0);
        assert_eq!(idle.bytes, idle.buffers.iter().map(BytesMut::capacity).sum::<usize>());
        (idle.buffers.len(), idle.bytes)
    }

    fn lent(buffers: &Buffers, size: usize) -> Bytes {
        let mut buffer = buffers.take(size);
        buffer.resize(size, 7);
        buffers.lend(buffer)
    }

    #[test]
    fn a_buffer_is_used_again_once_nothing_of_its_frame_is_held() {
        let buffers = Buffers::default();
        let frame = lent(&buffers, 4_194_500);
        let (at, slice) = (frame.as_ptr(), frame.slice(100..200));
        drop(frame);
        assert_eq!(waiting(&buffers), (0, 0), "a slice is held");
        drop(slice);
        let again = buffers.take(4_194_400);
        assert_eq!((again.as_ptr(), again.len(), waiting(&buffers)), (at, 0, (0, 0)));
    }

    #[test]
    fn a_buffer_is_hardly_larger_than_what_is_read_into_it() {
        let buffers = Buffers::default();
        for size in [LARGE, 200_000, 1 << 20, (1 << 20) + 1, 3_000_000, 4_194_500] {
            drop(lent(&buffers, size * 2));
            let buffer = buffers.take(size);
            assert!(
                buffer.capacity() >= size && buffer.capacity() <= size + size / 30,
                "{size}: {}",
                buffer.capacity()
            );
        }
    }

    #[test]
    fn what_waits_to_be_used_is_bounded_and_the_oldest_goes_first() {
        let buffers = Buffers::default();
        drop(lent(&buffers, 4 * MAX_IDLE));
        assert_eq!(waiting(&buffers), (0, 0), "too large to be kept");
        let sizes: Vec<_> = (0..10).map(|n| (1 << 20) + n * (200 << 10)).collect();
        let all: Vec<_> = sizes.iter().map(|&size| lent(&buffers, size)).collect();
        drop(all);
        assert!(waiting(&buffers).1 <= MAX_IDLE && waiting(&buffers).0 == 3);
        let kept = locked(&buffers.0).buffers.back().map(BytesMut::capacity);
        assert_eq!(kept, sizes.last().map(|&size| rounded(size)));
        let held = lent(&buffers, 200_000);
        buffers.clear();
        assert_eq!(waiting(&buffers), (0, 0));
        drop(held);
        assert_eq!(waiting(&buffers), (0, 0), "nobody would use it");
        drop(lent(&buffers, 200_000));
        assert_eq!(waiting(&buffers).0, 1);
    }

    #[test]
    fn what_is_decompressed_takes_the_place_of_frames_and_keeps_nothing_for_quiet_times() {
        let buffers = Buffers::default();
        let frame = lent(&buffers, 300_000);
        let at = frame.as_ptr();
        drop(frame);
        let mut room = buffers.room(299_000, 400_000);
        assert_eq!((room.as_ptr(), room.len()), (at, room.capacity()), "all of it may be written to");
        room[..3].copy_from_slice(b"abc");
        let part = buffers.lend_first(3, room);
        assert_eq!((&part[..], waiting(&buffers)), (&b"abc"[..], (0, 0)));
        drop(part);
        assert_eq!(waiting(&buffers).0, 1);
        assert_eq!(buffers.room(300_000, 300_000).len(), 300_000, "not beyond what is allowed");
        assert_eq!(waiting(&buffers).0, 1, "the one that waits is larger");
        assert_eq!(buffers.take(300_000).len(), 0, "to be read into from its beginning");
        buffers.clear();
        buffers.give_back(buffers.room(300_000, 400_000));
        assert_eq!(waiting(&buffers), (0, 0));
        let small = buffers.room(100, 400_000);
        assert_eq!(small.len(), 100);
    }

    #[test]
    fn nothing_waits_before_the_first_large_frame() {
        let buffers = Buffers::default();
        buffers.give_back(buffers.room(300_000, 400_000));
        assert_eq!(waiting(&buffers), (0, 0));
    }

    #[test]
    fn a_frame_outlives_its_client() {
        let buffers = Buffers::default();
        let frame = lent(&buffers, 200_000);
        drop(buffers);
        assert_eq!(frame[199_999], 7);
    }
}
