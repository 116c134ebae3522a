//! What happened in one period.

/// What happened to an object in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// Connections, or UDP sessions, or requests in flight, at its end.
    pub connections: u64,
    /// New ones.
    pub opened: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Datagrams from clients.
    pub packets_in: u64,
    /// Datagrams to clients.
    pub packets_out: u64,
    /// Answers by class.
    pub answers_2xx: u64,
    /// Answers by class.
    pub answers_3xx: u64,
    /// Answers by class.
    pub answers_4xx: u64,
    /// Answers by class.
    pub answers_5xx: u64,
    /// Among them.
    pub answers_404: u64,
    /// Among them.
    pub answers_502: u64,
    /// Requests, whatever became of them.
    pub requests: u64,
    /// How long they took together, microseconds.
    pub took_us: u64,
    /// How long the longest took.
    pub longest_us: u64,
    /// Requests that a backend did not answer in time.
    pub timeouts: u64,
}

/// The numbers of a point.
const FIELDS: usize = 16;

impl Point {
    fn fields(&mut self) -> [&mut u64; FIELDS] {
        [
            &mut self.connections,
            &mut self.opened,
            &mut self.bytes_in,
            &mut self.bytes_out,
            &mut self.packets_in,
            &mut self.packets_out,
            &mut self.answers_2xx,
            &mut self.answers_3xx,
            &mut self.answers_4xx,
            &mut self.answers_5xx,
            &mut self.answers_404,
            &mut self.answers_502,
            &mut self.requests,
            &mut self.took_us,
            &mut self.longest_us,
            &mut self.timeouts,
        ]
    }

    /// What one object did in a later part of the same period.
    pub(crate) fn then(&mut self, later: &Self) {
        self.add(later);
        self.connections = later.connections;
    }

    /// What another object did in the same period.
    pub(crate) fn add(&mut self, other: &Self) {
        let longest = self.longest_us.max(other.longest_us);
        let mut other = *other;
        for (to, from) in self.fields().into_iter().zip(other.fields()) {
            *to = to.saturating_add(*from);
        }
        self.longest_us = longest;
    }

    /// What has happened since the counters stood at `before`. A counter that has gone back, as the
    /// sum over a rule's members does when one leaves, says nothing.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let (mut now, mut before) = (*self, *before);
        for (to, from) in now.fields().into_iter().zip(before.fields()) {
            *to = to.saturating_sub(*from);
        }
        now.connections = self.connections;
        now
    }

    /// Only what concerns requests: of a rule, whose connections are its listener's.
    pub(crate) fn requests_only(&self) -> Self {
        Self {
            connections: 0,
            opened: 0,
            bytes_in: 0,
            bytes_out: 0,
            packets_in: 0,
            packets_out: 0,
            ..*self
        }
    }

    /// Whether there is nothing to be kept.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Appends it: which of its numbers are not 0, and those.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut copy = *self;
        let fields = copy.fields();
        let mut mask = 0;
        for (place, field) in fields.iter().enumerate() {
            mask |= u64::from(**field != 0) << place;
        }
        push(mask, out);
        fields
            .iter()
            .filter(|field| ***field != 0)
            .for_each(|field| push(**field, out));
    }

    /// Takes one off; `None` for what is none.
    pub(crate) fn read(data: &mut &[u8]) -> Option<Self> {
        let mask = take(data)?;
        let mut point = Self::default();
        for (place, field) in point.fields().into_iter().enumerate() {
            if mask >> place & 1 == 1 {
                *field = take(data)?;
            }
        }
        Some(point)
    }
}

/// Appends a number, seven bits to an octet, the lowest first.
pub(crate) fn push(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes such a number off.
pub(crate) fn take(data: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (octet, rest) = data.split_first()?;
        *data = rest;
        number |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_point_comes_back(numbers in prop::array::uniform16(0u64..u64::MAX), zero in any::<u16>()) {
            let mut point = Point::default();
            for (place, (to, from)) in point.fields().into_iter().zip(numbers).enumerate() {
                *to = if zero >> place & 1 == 1 { 0 } else { from };
            }
            let mut out = Vec::new();
            point.write(&mut out);
            let mut data = out.as_slice();
            prop_assert_eq!(Point::read(&mut data), Some(point));
            prop_assert!(data.is_empty());
        }
    }

    #[test]
    fn a_later_part_has_the_last_word_on_connections() {
        let mut point = Point {
            connections: 9,
            opened: 3,
            longest_us: 5,
            ..Point::default()
        };
        point.then(&Point {
            connections: 2,
            opened: 4,
            longest_us: 1,
            ..Point::default()
        });
        assert_eq!(
            point,
            Point {
                connections: 2,
                opened: 7,
                longest_us: 5,
                ..Point::default()
            }
        );
        point.add(&point.clone());
        assert_eq!(
            point,
            Point {
                connections: 4,
                opened: 14,
                longest_us: 5,
                ..Point::default()
            }
        );
    }
}
