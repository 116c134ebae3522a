use super::*;
use proptest::prelude::*;

const POOL: &[u8] = b"loc-abcdefgh";
const EXPIRE: u64 = 900;
const ISSUED: u64 = 1_764_000_000;

fn key(byte: u8) -> CookieKey {
    CookieKey::new(&[byte; 32])
}

fn sealed() -> CookieValue {
    key(1).seal(POOL, 42, ISSUED, [7; COOKIE_NONCE])
}

fn open(value: &str) -> Option<OpenedCookie> {
    key(1).open(POOL, value.as_bytes(), ISSUED, EXPIRE)
}

#[test]
fn what_was_sealed_opens() {
    let wanted = OpenedCookie {
        member: 42,
        issued: ISSUED,
    };
    assert_eq!(open(sealed().as_str()), Some(wanted));
}

/// Values outlive the process that sealed them. If this test fails, clients lose their sessions.
#[test]
fn the_form_is_this_for_ever() {
    assert_eq!(
        sealed().as_str(),
        "ndYJZNrNfiNWIV-O5DH1_se45NyjNSy6yp9fmzs0_WNxZjCj"
    );
}

#[test]
fn every_change_of_one_character_is_refused() {
    let value = sealed();
    for place in 0..COOKIE_VALUE_CHARS {
        for character in 0..=u8::MAX {
            let mut changed = value.0;
            changed[place] = character;
            let is_same = character == value.0[place];
            let opened = key(1).open(POOL, &changed, ISSUED, EXPIRE);
            assert_eq!(opened.is_some(), is_same, "{character} at {place}");
        }
    }
}

#[test]
fn other_lengths_are_refused() {
    let value = sealed();
    let text = value.as_str();
    for end in 0..COOKIE_VALUE_CHARS {
        assert_eq!(open(&text[..end]), None);
    }
    for longer in [
        format!("{text}A"),
        format!("{text}="),
        format!(" {text}"),
        format!("{text}{text}"),
    ] {
        assert_eq!(open(&longer), None, "{longer}");
    }
}

#[test]
fn other_pools_and_keys_are_refused() {
    let value = sealed();
    let bytes = value.as_str().as_bytes();
    assert_eq!(key(2).open(POOL, bytes, ISSUED, EXPIRE), None);
    for pool in [&b""[..], b"loc-abcdefgi", b"loc-abcdefg", b"lbl-abcdefgh"] {
        assert_eq!(key(1).open(pool, bytes, ISSUED, EXPIRE), None);
    }
}

#[test]
fn a_value_lives_for_session_expire_and_not_before_its_time() {
    let value = sealed();
    let opens = |now| {
        key(1)
            .open(POOL, value.as_str().as_bytes(), now, EXPIRE)
            .is_some()
    };
    assert!(opens(ISSUED + EXPIRE - 1));
    assert!(!opens(ISSUED + EXPIRE) && !opens(u64::MAX));
    assert!(opens(ISSUED - COOKIE_CLOCK_SKEW));
    assert!(!opens(ISSUED - COOKIE_CLOCK_SKEW - 1) && !opens(0));
}

#[test]
fn renewed_when_less_than_half_is_left() {
    let opened = open(sealed().as_str()).unwrap();
    let renewed = |age, expire| opened.needs_renewal(ISSUED + age, expire);
    assert!(!renewed(0, 900) && !renewed(450, 900) && renewed(451, 900));
    assert!(!renewed(15, 31) && renewed(16, 31));
    assert!(
        !opened.needs_renewal(ISSUED - 1, 900),
        "issued by a clock ahead"
    );
}

#[test]
fn values_of_one_member_have_nothing_in_common() {
    let other = key(1).seal(POOL, 42, ISSUED, [8; COOKIE_NONCE]);
    let same = (0..COOKIE_VALUE_CHARS)
        .filter(|&place| other.0[place] == sealed().0[place])
        .count();
    assert!(same < 12, "{same} equal characters");
}

#[test]
fn times_beyond_the_range_do_not_wrap() {
    let value = key(1).seal(POOL, 1, u64::MAX, [0; COOKIE_NONCE]);
    assert_eq!(open(value.as_str()), None);
}

#[test]
fn the_key_is_not_shown() {
    assert_eq!(format!("{:?}", key(1)), "CookieKey(…)");
}

#[test]
fn set_cookie_says_what_semantics_say() {
    let value = sealed();
    let cookie = |secure| SetCookie {
        name: "clb_route",
        value: &value,
        max_age: 900,
        secure,
    };
    assert_eq!(
        cookie(false).to_string(),
        format!("clb_route={value}; Max-Age=900; Path=/; HttpOnly; SameSite=Lax")
    );
    assert_eq!(
        cookie(true).to_string(),
        format!("clb_route={value}; Max-Age=900; Path=/; Secure; HttpOnly; SameSite=Lax")
    );
}

proptest! {
    #[test]
    fn round_trip(
        raw in any::<[u8; 32]>(),
        pool in prop::collection::vec(any::<u8>(), 0..40),
        member in any::<u64>(),
        issued in 0u64..1 << 40,
        nonce in any::<[u8; COOKIE_NONCE]>(),
    ) {
        let key = CookieKey::new(&raw);
        let value = key.seal(&pool, member, issued, nonce);
        prop_assert!(value.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        let opened = key.open(&pool, value.as_str().as_bytes(), issued, 30);
        prop_assert_eq!(opened, Some(OpenedCookie { member, issued }));
    }

    #[test]
    fn no_value_that_a_client_makes_up_opens(value in "[A-Za-z0-9_-]{48}|.{0,60}") {
        prop_assert_eq!(open(&value), None);
    }
}
