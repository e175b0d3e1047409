//! One frame that we own.

use arrayvec::ArrayVec;
use dataplane::frame::{Frame, HEAD};
use std::fmt;
use std::ptr::NonNull;
use std::slice;

/// An mbuf that belongs to whoever holds it. Dropping it gives it back to its pool.
///
/// The bytes of its buffer are always initialised: a pool's memory is zeroed when it is made.
#[repr(transparent)]
pub struct Mbuf(NonNull<dpdk_sys::rte_mbuf>);

// SAFETY: an owned mbuf refers to nothing of the thread it is on; pools take frames back from any
// thread (see `Pool`).
unsafe impl Send for Mbuf {}
// SAFETY: `&Mbuf` only reads.
unsafe impl Sync for Mbuf {}

impl Mbuf {
    /// Takes an mbuf over.
    ///
    /// # Safety
    /// It must be valid, of a pool made by `Pool::new` or laid out like one of those (at least
    /// [`HEAD`] bytes from its data's beginning to its buffer's end), and nobody else may refer to it.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(mbuf: NonNull<dpdk_sys::rte_mbuf>) -> Self {
        Self(mbuf)
    }

    /// The field at `offset`, one of `NATLB_MBUF_*`.
    ///
    /// # Safety
    /// `T` must be the field's type.
    #[inline(always)]
    unsafe fn field<T>(&self, offset: u32) -> NonNull<T> {
        // SAFETY: the offset is one of the structure's fields, by the shim's `offsetof`.
        unsafe { self.0.byte_add(offset as usize).cast() }
    }

    /// Where the data begins.
    #[inline(always)]
    fn data(&self) -> NonNull<u8> {
        // SAFETY: field types as the shim asserts. An mbuf's buffer address is never null, and its data
        // offset lies in the buffer.
        unsafe {
            let buffer = self.field::<NonNull<u8>>(dpdk_sys::NATLB_MBUF_BUF_ADDR).read();
            buffer.add(usize::from(self.data_offset()))
        }
    }

    #[inline(always)]
    fn data_offset(&self) -> u16 {
        // SAFETY: the field's type, as the shim asserts.
        unsafe { self.field::<u16>(dpdk_sys::NATLB_MBUF_DATA_OFF).read() }
    }

    #[inline(always)]
    fn buffer_length(&self) -> u16 {
        // SAFETY: the field's type, as the shim asserts.
        unsafe { self.field::<u16>(dpdk_sys::NATLB_MBUF_BUF_LEN).read() }
    }

    /// Pieces that the frame is in; 1 for a whole one.
    #[inline(always)]
    pub fn segments(&self) -> u16 {
        // SAFETY: the field's type, as the shim asserts.
        unsafe { self.field::<u16>(dpdk_sys::NATLB_MBUF_NB_SEGS).read() }
    }

    /// Gives all the frames back at once, which costs less than dropping them one by one.
    #[inline]
    pub fn free_all<const N: usize>(frames: &mut ArrayVec<Self, N>) {
        let count = frames.len();
        if count == 0 {
            return;
        }
        // SAFETY: an `Mbuf` is laid out as the pointer that the function reads; all of these are ours, and
        // are forgotten, not dropped, after it has freed them.
        unsafe {
            frames.set_len(0);
            dpdk_sys::natlb_mbuf_free_bulk(frames.as_mut_ptr().cast(), count as u32);
        }
    }

    /// Bytes of all pieces together.
    #[inline(always)]
    pub fn total_length(&self) -> u32 {
        // SAFETY: the field's type, as the shim asserts.
        unsafe { self.field::<u32>(dpdk_sys::NATLB_MBUF_PKT_LEN).read() }
    }
}

impl Drop for Mbuf {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the mbuf is ours, and not used after this.
        unsafe { dpdk_sys::natlb_mbuf_free(self.0.as_ptr()) }
    }
}

impl Frame for Mbuf {
    /// Of a frame in several pieces: the first piece's.
    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the field's type, as the shim asserts.
        usize::from(unsafe { self.field::<u16>(dpdk_sys::NATLB_MBUF_DATA_LEN).read() })
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `length` bytes from the data's beginning are the first piece, in the buffer that we
        // own; `&self` keeps it from being changed.
        unsafe { slice::from_raw_parts(self.data().as_ptr(), self.length()) }
    }

    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes us the only one.
        unsafe { slice::from_raw_parts_mut(self.data().as_ptr(), self.length()) }
    }

    #[inline(always)]
    fn head(&self) -> &[u8; HEAD] {
        debug_assert!(usize::from(self.data_offset()) + HEAD <= usize::from(self.buffer_length()));
        // SAFETY: a pool's buffers are headroom + data size long, and the data size is at least HEAD
        // (`Pool::new`). Drivers put a frame at the headroom's end, where a fresh mbuf has it, and
        // nothing here moves it. So HEAD bytes follow.
        unsafe { self.data().cast().as_ref() }
    }

    #[inline(always)]
    fn head_mut(&mut self) -> &mut [u8; HEAD] {
        debug_assert!(usize::from(self.data_offset()) + HEAD <= usize::from(self.buffer_length()));
        // SAFETY: as in `head`; `&mut self` makes us the only one.
        unsafe { self.data().cast().as_mut() }
    }

    #[inline(always)]
    fn flags(&self) -> u64 {
        // SAFETY: the field's type, as the shim asserts. So it does what the two flags are that the trait names.
        unsafe { self.field::<u64>(dpdk_sys::NATLB_MBUF_OL_FLAGS).read() }
    }

    #[inline(always)]
    fn set_length(&mut self, length: usize) -> bool {
        let room = self.buffer_length().saturating_sub(self.data_offset());
        if length > usize::from(room) || !self.is_whole() {
            return false;
        }
        // SAFETY: the fields' types, as the shim asserts; the length fits the buffer, so also a u16.
        unsafe {
            self.field::<u16>(dpdk_sys::NATLB_MBUF_DATA_LEN).write(length as u16);
            self.field::<u32>(dpdk_sys::NATLB_MBUF_PKT_LEN).write(length as u32);
        }
        true
    }

    #[inline(always)]
    fn pieces(&self) -> u16 {
        self.segments()
    }

    #[inline(always)]
    fn marks(&self) -> u64 {
        const LIE_SIDE_BY_SIDE: bool = cfg!(target_endian = "little")
            && dpdk_sys::NATLB_MBUF_OL_FLAGS == dpdk_sys::NATLB_MBUF_NB_SEGS + 4;
        if !LIE_SIDE_BY_SIDE {
            return self.flags() << 32 | u64::from(self.pieces());
        }
        // SAFETY: the two bytes of the number of segments, the two of the port, and half of the flags, all of them
        // initialised numbers; read as one where the offsets say that they follow on each other.
        unsafe { self.field::<u64>(dpdk_sys::NATLB_MBUF_NB_SEGS).read_unaligned() }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf").field("length", &self.length()).field("segments", &self.segments()).finish()
    }
}
