//! Memory that the kernel is given pointers into.
#![expect(unsafe_code, reason = "memory that is reached through a pointer")]

use std::ptr::NonNull;

/// It stays where it is until this is dropped, and is reached through the pointer only, so that no
/// reference lies about who may write to it.
pub(super) struct Fixed<T>(NonNull<[T]>);

impl<T: Copy> Fixed<T> {
    pub(super) fn new(value: T, count: usize) -> Self {
        Self::from_box(vec![value; count].into())
    }

    pub(super) fn from_box(memory: Box<[T]>) -> Self {
        // Never null, but this way needs no unsafe.
        Self(NonNull::from(Box::leak(memory)))
    }

    /// The place; `at` must be less than the count.
    pub(super) fn place(&self, at: usize) -> *mut T {
        debug_assert!(at < self.0.len());
        self.0.cast::<T>().as_ptr().wrapping_add(at)
    }

    /// Writes to a place; nothing if there is no such place.
    pub(super) fn write(&mut self, at: usize, value: T) {
        if at < self.0.len() {
            // SAFETY: the place is within the memory, and nobody else uses it, as this is had
            // exclusively.
            unsafe { self.place(at).write(value) };
        }
    }
}

impl<T> Drop for Fixed<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box in `from_box`, and nobody else frees it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

pub(super) const fn no_vector() -> libc::iovec {
    libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }
}

pub(super) fn no_header() -> libc::mmsghdr {
    // SAFETY: integers and pointers only (recvmsg(2)), for which zero is a value.
    unsafe { std::mem::zeroed() }
}
