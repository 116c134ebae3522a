//! W3C Trace Context: which trace a request belongs to.

/// Octets of a traceparent of version 00.
pub const TRACEPARENT_LENGTH: usize = 55;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// What a traceparent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: [u8; 16],
    /// The span that this is sent from.
    pub span: [u8; 8],
    /// Flags; the lowest: the trace is recorded.
    pub flags: u8,
}

impl TraceParent {
    /// Reads a traceparent (Trace Context, section 3.2): version 00, or a later one that begins like
    /// it. `None` for what is to be ignored, and with it tracestate.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let mut parts = value.split(|&octet| octet == b'-');
        let [version] = hex::<1>(parts.next()?)?;
        let trace = hex::<16>(parts.next()?)?;
        let span = hex::<8>(parts.next()?)?;
        let [flags] = hex::<1>(parts.next()?)?;
        let is_longer = parts.next().is_some();
        let is_valid = version != 0xff
            && (version > 0 || !is_longer)
            && trace.iter().any(|octet| *octet != 0)
            && span.iter().any(|octet| *octet != 0);
        is_valid.then_some(Self { trace, span, flags })
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags of a trace that is recorded, or is not.
    #[must_use]
    pub fn flags(is_sampled: bool) -> u8 {
        if is_sampled { SAMPLED } else { 0 }
    }

    /// The field's value, of version 00.
    #[must_use]
    pub fn to_value(&self) -> [u8; TRACEPARENT_LENGTH] {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut digits = value.iter_mut().skip(3).filter(|octet| **octet != b'-');
        for octet in self.trace.iter().chain(&self.span).chain([&self.flags]) {
            for digit in [octet >> 4, octet & 15] {
                if let Some(place) = digits.next() {
                    *place = char::from_digit(digit.into(), 16).map_or(b'0', |digit| digit as u8);
                }
            }
        }
        value
    }
}

/// Lowercase hexadecimal digits as octets, exactly so many.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    };
    let mut octets = [0; N];
    for (place, [high, low]) in octets.iter_mut().zip(pairs) {
        *place = digit(*high)? << 4 | digit(*low)?;
    }
    Some(octets)
}

/// The octets of an id of the gateway's own: a trace of ours has the number of its first request.
#[must_use]
pub fn trace_of(id: &[u8]) -> Option<[u8; 16]> {
    hex::<16>(id).filter(|trace| trace.iter().any(|octet| *octet != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_the_specification_shows_is_read() {
        let parent = TraceParent::read(GOOD.as_bytes()).unwrap();
        assert!(parent.is_sampled());
        assert_eq!(parent.to_value(), GOOD.as_bytes());
        for (value, expected) in [
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                true,
            ),
            (
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                true,
            ),
            (
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
                true,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
                false,
            ),
            (
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                false,
            ),
            (
                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                false,
            ),
            (
                "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                false,
            ),
            ("", false),
        ] {
            assert_eq!(
                TraceParent::read(value.as_bytes()).is_some(),
                expected,
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in prop::array::uniform16(1u8..), span in prop::array::uniform8(1u8..), flags: u8) {
            let parent = TraceParent { trace, span, flags };
            prop_assert_eq!(TraceParent::read(&parent.to_value()), Some(parent));
        }

        #[test]
        fn no_octets_make_it_fail(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceParent::read(&value);
        }
    }
}
