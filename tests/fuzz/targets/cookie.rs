//! Session cookies: any octets are taken or not; what was sealed opens for the same pool only, and not once it
//! is changed.
#![no_main]

use clb_balance::CookieKey;
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_764_000_000;

fuzz_target!(|data: &[u8]| {
    let key = CookieKey::new(&[7; 32]);
    // The fuzzer sees both sides of each comparison, so it can find what nobody outside can: only that
    // it does not fail is asked here.
    let _ = key.open(b"loc-00000001", data, NOW, 3_600);
    let seed = data.iter().take(8).fold(0, |sum, octet| sum << 8 | u64::from(*octet));
    let sealed = key.seal(b"loc-00000001", seed, NOW, [3; clb_balance::COOKIE_NONCE]);
    let opened = key.open(b"loc-00000001", sealed.as_str().as_bytes(), NOW, 3_600);
    assert_eq!(opened.map(|opened| (opened.member, opened.issued)), Some((seed, NOW)));
    assert_eq!(key.open(b"loc-00000002", sealed.as_str().as_bytes(), NOW, 3_600), None);
    // One changed octet is one too many.
    let mut changed = sealed.as_str().as_bytes().to_vec();
    let Some(place) = data.first() else {
        return;
    };
    let place = usize::from(*place) % changed.len();
    changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
    assert_eq!(key.open(b"loc-00000001", &changed, NOW, 3_600), None);
});
