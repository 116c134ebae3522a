//! Weighted consistent hashing of the client's address.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

/// Fixed and the same everywhere, so that all nodes choose alike without talking, also after a
/// restart. Another key would send every client elsewhere.
const CLIENT_KEY: [u8; 16] = *b"clbd ip_hash v1\0";

/// Rendezvous hashing with weights: for each client every member has an exponentially distributed
/// draw of its own with its weight as rate, and the smallest draw wins.
///
/// A draw depends on the client, the member's identity and its weight, and on nothing else. So it
/// does not matter who computes it, when, or in which order members are listed; a member that comes
/// takes clients only for itself, one that goes leaves its clients to each one's next choice and
/// moves nobody else, and one that returns gets exactly its clients back. Each member gets
/// `weight / sum of weights` of the clients.
///
/// A pick looks at every member, which costs a nanosecond or two each: among members of one weight
/// the draws are ordered as the hashes are, so at most the best of each weight needs a logarithm. See
/// docs/adr/0013 for why there is no table.
#[derive(Debug, Default)]
pub struct IpHash {
    /// One for each weight above 0 that occurs, in descending order.
    classes: Box<[Class]>,
}

/// The members of one weight.
#[derive(Debug)]
struct Class {
    weight: f64,
    /// The scrambled identities, ascending.
    keys: Box<[u64]>,
    /// The member of each key: its index in the pool.
    indexes: Box<[u32]>,
}

/// What is hashed of a client's address: IPv4, or the /64 of IPv6, for a client there may use any
/// address of its network (semantics.md 2). IPv4-mapped IPv6 counts as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHash(u64);

impl ClientHash {
    /// Hashes a client's address.
    #[must_use]
    pub fn new(client: IpAddr) -> Self {
        let mut hasher = SipHasher13::new_with_key(&CLIENT_KEY);
        match client.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => {
                let network = u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX);
                hasher.write(&network.to_be_bytes());
            }
        }
        Self(hasher.finish())
    }
}

/// The finaliser of SplitMix64 (Stafford's "Mix13"): maps the 64-bit numbers onto themselves, one
/// to one, and flips each bit of the result with about half of all changes of one bit.
const fn mix(mut value: u64) -> u64 {
    value ^= value >> 30;
    value = value.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value ^= value >> 27;
    value = value.wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A hash as a number between 0 and 1, neither of them included: 52 bits and a half, so that there
/// are no more than the 53 that a float holds.
#[allow(clippy::cast_precision_loss)]
fn fraction(hash: u64) -> f64 {
    const STEP: f64 = 1.0 / (1u64 << 52) as f64;
    ((hash >> 12) as f64 + 0.5) * STEP
}

/// The draw of a member: `-ln(h) / weight` for its hash `h` between 0 and 1.
fn draw(hash: u64, weight: f64) -> f64 {
    -fraction(hash).ln() / weight
}

/// Less than the draw, whatever the logarithm's last bit, and cheap: `-ln(h) > 1 - h`.
fn below_draw(hash: u64, weight: f64) -> f64 {
    (1.0 - fraction(hash)) * (1.0 - 1e-9) / weight
}

impl IpHash {
    /// Compiles the members: identity, stable and unique in the pool, and weight; what stands at
    /// place `i` is the member of index `i`. Members of weight 0 are never chosen.
    #[must_use]
    pub fn new(members: &[(u64, u8)]) -> Self {
        let mut order: Vec<(u8, u64, u32)> = (0u32..)
            .zip(members)
            .filter(|(_, (_, weight))| *weight > 0)
            // Identities are numbered in turn; scrambled, they differ in many bits.
            .map(|(index, &(identity, weight))| (weight, mix(!identity), index))
            .collect();
        order.sort_unstable_by_key(|&(weight, key, _)| (std::cmp::Reverse(weight), key));
        let classes = order
            .chunk_by(|(first, ..), (second, ..)| first == second)
            .filter_map(|class| {
                let (weight, ..) = class.first()?;
                Some(Class {
                    weight: f64::from(*weight),
                    keys: class.iter().map(|(_, key, _)| *key).collect(),
                    indexes: class.iter().map(|(.., index)| *index).collect(),
                })
            })
            .collect();
        Self { classes }
    }

    /// The index of the client's member; `None` without members of weight above 0.
    #[must_use]
    pub fn pick(&self, client: ClientHash) -> Option<usize> {
        self.pick_among(client, |_| true)
    }

    /// The index of the client's first choice among those members that `is_wanted` says yes to;
    /// each refusal leads on to the next in the client's own order.
    #[must_use]
    pub fn pick_among(
        &self,
        client: ClientHash,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for class in &self.classes {
            let Some((hash, index)) = class.best(client, &is_wanted) else {
                continue;
            };
            if best.is_some_and(|(least, _)| below_draw(hash, class.weight) >= least) {
                continue;
            }
            let own = draw(hash, class.weight);
            // Equal draws of two weights go to the greater one, which comes first.
            if best.is_none_or(|(least, _)| own < least) {
                best = Some((own, index));
            }
        }
        best.map(|(_, index)| index)
    }
}

impl Class {
    /// The greatest hash, which is the smallest draw, and its member. No two are equal: one client
    /// maps different keys to different hashes.
    fn best(&self, client: ClientHash, is_wanted: impl Fn(usize) -> bool) -> Option<(u64, usize)> {
        let (mut most, mut chosen) = (0, None);
        for (&key, &index) in self.keys.iter().zip(&self.indexes) {
            let hash = mix(client.0 ^ key);
            // `>=`, because the only hash may be 0.
            if hash >= most && is_wanted(widen(index)) {
                (most, chosen) = (hash, Some(index));
            }
        }
        chosen.map(|index| (most, widen(index)))
    }
}

fn widen(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
