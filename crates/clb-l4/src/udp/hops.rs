//! How loops of gateways end.
//!
//! A backend that is itself a gateway may have this one as its backend, on purpose or by mistake.
//! Nothing in a datagram's content says so, and each round begins a new session, so that without a
//! guard one datagram would go round for ever. As with routers, the hops that a datagram has left
//! (the TTL of RFC 791, the hop limit of RFC 8200) become fewer with each gateway, by what a way
//! through a network may take: [`STEP`]. It has [`STEPS`] steps at most, whatever it came with.

/// Hops of one step.
const STEP: u8 = 8;

/// Steps at most: as many hops as Linux gives its datagrams.
const STEPS: u8 = 8;

/// The hops that the datagrams of a session have towards its backend, when its first one came with
/// so many left; `None` when it must not go on. It is a multiple of eight, so that sessions differ
/// by it in few ways.
pub(crate) fn onward(left: Option<u8>) -> Option<u8> {
    let steps = left.map_or(STEPS, |left| left.div_ceil(STEP).min(STEPS));
    match steps.checked_sub(1)? {
        0 => None,
        steps => Some(steps * STEP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_becomes_less_with_each_gateway_until_it_ends() {
        // As systems send them, some routers later.
        for first in [255, 128, 64, 60, 57] {
            let gateways = std::iter::successors(Some(first), |left| onward(Some(*left)));
            let way: Vec<u8> = gateways.skip(1).collect();
            assert_eq!(way, [56, 48, 40, 32, 24, 16, 8], "{first}");
        }
        assert_eq!(onward(Some(56)), Some(48));
        assert_eq!(onward(Some(17)), Some(16));
        assert_eq!(onward(Some(16)), Some(8));
        assert_eq!(onward(Some(8)), None);
        assert_eq!(onward(Some(0)), None);
        assert_eq!(onward(None), Some(56));
    }
}
