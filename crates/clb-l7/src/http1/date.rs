//! HTTP dates (RFC 9110, section 5.6.7).

use super::octets::push_decimal;

const DAYS: [&[u8]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Last second of the year 9999: later ones do not fit the format.
const LAST: u64 = 253_402_300_799;

/// Length of an IMF-fixdate, in octets.
pub const LENGTH: usize = 29;

/// `unix`, seconds since 1970-01-01 00:00:00 UTC, as an IMF-fixdate, for instance
/// `Sun, 06 Nov 1994 08:49:37 GMT`. Times after the year 9999 are given as its last second.
#[must_use]
pub fn imf_fixdate(unix: u64) -> [u8; LENGTH] {
    let unix = unix.min(LAST);
    let (days, second) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);

    let mut out = Vec::with_capacity(LENGTH);
    // 1970-01-01 was a Thursday.
    out.extend_from_slice(name(&DAYS, (days + 4) % 7));
    out.extend_from_slice(b", ");
    push_two(day, &mut out);
    out.push(b' ');
    out.extend_from_slice(name(&MONTHS, month));
    out.push(b' ');
    push_decimal(year, &mut out);
    out.push(b' ');
    push_two(second / 3600, &mut out);
    out.push(b':');
    push_two(second / 60 % 60, &mut out);
    out.push(b':');
    push_two(second % 60, &mut out);
    out.extend_from_slice(b" GMT");
    out.try_into().unwrap_or([b' '; LENGTH])
}

/// Year, month counted from 0, and day counted from 1, of the day `days` after 1970-01-01 in the
/// Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the day of a leap year is the last of its year, in
    // eras of 400 years, which all have 146,097 days. 1970-01-01 is day 719,468 since 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day = day - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year + u64::from(march_month >= 10);
    (year, month, day)
}

fn name<'a>(names: &[&'a [u8]], index: u64) -> &'a [u8] {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index).copied())
        .unwrap_or(b"???")
}

fn push_two(number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        out.push(b'0');
    }
    push_decimal(number, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            // The example of RFC 9110, 5.6.7.
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let date = imf_fixdate(unix);
            assert_eq!(String::from_utf8_lossy(&date), text, "{unix}");
        }
    }

    #[test]
    fn days_follow_each_other() {
        let lengths = |year: u64| {
            let leap =
                year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
            [
                31,
                if leap { 29 } else { 28 },
                31,
                30,
                31,
                30,
                31,
                31,
                30,
                31,
                30,
                31,
            ]
        };
        let mut days = 0;
        for year in 1970..2500_u64 {
            for (month, length) in (0..).zip(lengths(year)) {
                for day in 1..=length {
                    assert_eq!(civil(days), (year, month, day));
                    days += 1;
                }
            }
        }
    }
}
