//! Memory that is needed soon.
//!
//! Nothing of sockets, but a call without a safe wrapper, and this is the crate for those.

/// Has the processor fetch the cache line of an address, without waiting for it. The address need
/// not be valid. Does nothing where it is not known how, which is everywhere but on x86-64.
#[inline]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: PREFETCHT0 is a hint: it changes nothing that a program can see and raises no
        // exception, whatever the address is (AMD64 Architecture Programmer's Manual, volume 3,
        // "PREFETCHlevel"). It belongs to SSE, which each x86-64 processor has.
        #[expect(unsafe_code, reason = "no safe wrapper")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(at.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_will_do() {
        let value = 7_u64;
        prefetch(&raw const value);
        prefetch::<u64>(std::ptr::null());
        prefetch(std::ptr::without_provenance::<u64>(usize::MAX));
        assert_eq!(value, 7);
    }
}
