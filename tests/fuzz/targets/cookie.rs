//! Session cookies: nothing that the gateway has not sealed itself opens, and what it has sealed opens for the
//! same pool only.
#![no_main]

use clb_balance::CookieKey;
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_764_000_000;

fuzz_target!(|data: &[u8]| {
    let key = CookieKey::new(&[7; 32]);
    assert_eq!(key.open(b"loc-00000001", data, NOW, 3_600), None);
    let seed = data.iter().take(8).fold(0, |sum, octet| sum << 8 | u64::from(*octet));
    let sealed = key.seal(b"loc-00000001", seed, NOW, [3; clb_balance::COOKIE_NONCE]);
    let opened = key.open(b"loc-00000001", sealed.as_str().as_bytes(), NOW, 3_600);
    assert_eq!(opened.map(|opened| (opened.member, opened.issued)), Some((seed, NOW)));
    assert_eq!(key.open(b"loc-00000002", sealed.as_str().as_bytes(), NOW, 3_600), None);
    // One changed octet is one too many.
    let mut changed = sealed.as_str().as_bytes().to_vec();
    let (Some(place), Some(mask)) = (data.first(), data.get(1)) else {
        return;
    };
    let place = usize::from(*place) % changed.len();
    changed[place] ^= mask;
    if changed != sealed.as_str().as_bytes() {
        assert_eq!(key.open(b"loc-00000001", &changed, NOW, 3_600), None);
    }
});
