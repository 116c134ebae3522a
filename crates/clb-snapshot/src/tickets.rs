//! Session tickets (RFC 5077, RFC 8446 4.6.1): what a client brings to go on with a session, which
//! nobody but us can read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// How long a key makes tickets; it reads them for twice as long. In this time far fewer handshakes
/// happen than the 2^32 for which one key is safe (NIST SP 800-38D 8.3).
const MAKES: Duration = Duration::from_secs(6 * 3_600);
const READS: Duration = Duration::from_secs(12 * 3_600);

const NAME: usize = 8;

/// A key as it goes to another process.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// By which its tickets name it.
    pub name: [u8; NAME],
    /// The key.
    pub secret: Zeroizing<[u8; 32]>,
    /// How old it is.
    pub age: Duration,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey([redacted])")
    }
}

struct Key {
    name: [u8; NAME],
    secret: Zeroizing<[u8; 32]>,
    aead: RandomizedNonceKey,
    made: Instant,
}

impl Key {
    fn new(name: [u8; NAME], secret: Zeroizing<[u8; 32]>, made: Instant) -> Option<Self> {
        Some(Self {
            name,
            aead: RandomizedNonceKey::new(&AES_256_GCM, &secret[..]).ok()?,
            secret,
            made,
        })
    }

    fn fresh(now: Instant) -> Option<Self> {
        let (mut name, mut secret) = ([0; NAME], Zeroizing::new([0; 32]));
        aws_lc_rs::rand::fill(&mut name).ok()?;
        aws_lc_rs::rand::fill(&mut secret[..]).ok()?;
        Self::new(name, secret, now)
    }

    fn is_younger(&self, now: Instant, than: Duration) -> bool {
        now.saturating_duration_since(self.made) < than
    }
}

/// The newest makes tickets.
struct Keys(Vec<Arc<Key>>);

/// The keys of one listener's tickets. They live in memory only.
pub struct TicketKeys {
    keys: ArcSwap<Keys>,
    changing: Mutex<()>,
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys([redacted])")
    }
}

impl TicketKeys {
    /// With one fresh key; none if the system gives no random octets.
    pub(crate) fn new() -> Option<Self> {
        let key = Key::fresh(Instant::now())?;
        Some(Self {
            keys: ArcSwap::from_pointee(Keys(vec![Arc::new(key)])),
            changing: Mutex::default(),
        })
    }

    /// For another process that goes on with the listener, the newest first.
    #[must_use]
    pub fn tell(&self) -> Vec<TicketKey> {
        let now = Instant::now();
        let keys = self.keys.load();
        let told = keys.0.iter().filter(|key| key.is_younger(now, READS));
        told.map(|key| TicketKey {
            name: key.name,
            secret: key.secret.clone(),
            age: now.saturating_duration_since(key.made),
        })
        .collect()
    }

    /// Goes on with what another process has [told](Self::tell) of the same listener with the same
    /// client CA.
    pub fn take_over(&self, told: Vec<TicketKey>) {
        let now = Instant::now();
        let inherited = told.into_iter().filter_map(|key| {
            let made = now.checked_sub(key.age).unwrap_or(now);
            Key::new(key.name, key.secret, made).map(Arc::new)
        });
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.keys.load_full();
        let keys: Vec<_> = inherited.chain(own.0.iter().cloned()).collect();
        self.keys.store(Arc::new(Keys(keys)));
    }

    fn encrypt_at(&self, now: Instant, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let newest = keys.0.first()?;
        let key = match newest.is_younger(now, MAKES) {
            true => Arc::clone(newest),
            false => self.renew(now)?,
        };
        let mut content = plain.to_vec();
        let nonce = key
            .aead
            .seal_in_place_append_tag(Aad::from(key.name), &mut content)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + content.len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.append(&mut content);
        Some(ticket)
    }

    fn decrypt_at(&self, now: Instant, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_at_checked(NAME)?;
        let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.load();
        let mut named = keys.0.iter().filter(|key| key.name == name);
        let key = named.find(|key| key.is_younger(now, READS))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = content.to_vec();
        let length = key
            .aead
            .open_in_place(nonce, Aad::from(key.name), &mut content)
            .ok()?
            .len();
        content.truncate(length);
        Some(content)
    }

    /// A fresh key, unless somebody else was faster.
    fn renew(&self, now: Instant) -> Option<Arc<Key>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.keys.load_full();
        if let Some(newest) = old.0.first().filter(|key| key.is_younger(now, MAKES)) {
            return Some(Arc::clone(newest));
        }
        let fresh = Arc::new(Key::fresh(now)?);
        let readable = old.0.iter().filter(|key| key.is_younger(now, READS));
        let keys = [Arc::clone(&fresh)].into_iter().chain(readable.cloned());
        self.keys.store(Arc::new(Keys(keys.collect())));
        Some(fresh)
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(READS.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(Instant::now(), plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(Instant::now(), ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_key_makes_tickets_for_six_hours_and_reads_them_for_twelve() {
        let (keys, start) = (TicketKeys::new().unwrap(), Instant::now());
        let first = keys.encrypt_at(start, b"first").unwrap();
        assert_ne!(first, keys.encrypt_at(start, b"first").unwrap());
        let name = first[..NAME].to_vec();
        let later = keys.encrypt_at(start + 5 * HOUR, b"later").unwrap();
        assert_eq!(later[..NAME], name);
        let renewed = keys.encrypt_at(start + 7 * HOUR, b"renewed").unwrap();
        assert_ne!(renewed[..NAME], name);
        let read = |hours: u32, ticket: &[u8]| keys.decrypt_at(start + hours * HOUR, ticket);
        assert_eq!(read(11, &first).unwrap(), b"first");
        assert_eq!(read(11, &later).unwrap(), b"later");
        assert_eq!(read(13, &first), None);
        assert_eq!(read(18, &renewed).unwrap(), b"renewed");
        // What is too old to be read is forgotten.
        keys.encrypt_at(start + 14 * HOUR, b"third").unwrap();
        assert_eq!(keys.keys.load().0.len(), 2);
    }

    #[test]
    fn nothing_else_is_read() {
        let keys = TicketKeys::new().unwrap();
        let ticket = keys.encrypt(b"session").unwrap();
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(keys.decrypt(&changed), None, "{place}");
        }
        for length in 0..ticket.len() {
            assert_eq!(keys.decrypt(&ticket[..length]), None, "{length}");
        }
        assert_eq!(TicketKeys::new().unwrap().decrypt(&ticket), None);
    }

    #[test]
    fn another_process_goes_on_with_the_same_keys() {
        let (old, new) = (TicketKeys::new().unwrap(), TicketKeys::new().unwrap());
        let before = old.encrypt(b"before").unwrap();
        let own = new.encrypt(b"own").unwrap();
        new.take_over(old.tell());
        assert_eq!(new.decrypt(&before).unwrap(), b"before");
        assert_eq!(new.decrypt(&own).unwrap(), b"own");
        // Both make tickets that the other reads, for as long as the old one has left.
        let after = new.encrypt(b"after").unwrap();
        assert_eq!(after[..NAME], before[..NAME]);
        assert_eq!(old.decrypt(&after).unwrap(), b"after");
        let start = Instant::now();
        assert_eq!(new.decrypt_at(start + 13 * HOUR, &before), None);
        assert!(format!("{:?} {new:?}", old.tell()).contains("redacted"));
    }
}
