//! A client's frames as they come, before the crate `h2` reads them.
//!
//! The crate names some faults with another code than RFC 9113 does, and it bounds what frames
//! make it hold, not how many come that carry nothing: a client that sends PING after PING has its
//! connection's task busy for as long as it likes. Both show in a frame's first nine octets.

use h2::Reason;

/// Octets before the first frame (RFC 9113, section 3.4); the crate looks at them.
const PREFACE: usize = 24;
/// Of a frame's head (section 4.1).
const HEAD: usize = 9;
/// Of one setting (section 6.5.1).
const SETTING: usize = 6;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// END_STREAM of DATA, ACK of SETTINGS and PING.
const FLAG_1: u8 = 1;

/// SETTINGS_INITIAL_WINDOW_SIZE (section 6.5.2).
const INITIAL_WINDOW: u16 = 4;
/// Its largest value (section 6.9.2).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// Frames that carry nothing which a client may send at once.
const IDLE_FRAMES: u64 = 2_000;
/// The same, in each second of the connection's life.
const IDLE_FRAMES_PER_SECOND: u64 = 10;
/// Octets sent to the client that allow it another such frame: one window update for each small
/// message, as some clients do it, stays far below.
const OCTETS_PER_IDLE_FRAME: u64 = 8;
/// Octets of our answer to PING and to SETTINGS. What a frame makes us send allows no other.
const PING_ANSWER: u64 = 17;
const SETTINGS_ANSWER: u64 = 9;

/// Where in the stream of octets the next one is.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Octets of the preface that are still to come.
    Preface(usize),
    /// So many octets of a head have come.
    Head([u8; HEAD], usize),
    /// Octets of the payload that are still to come.
    Payload(usize),
    /// The same, of a frame of settings; so many octets of one have come.
    Settings(usize, [u8; SETTING], usize),
}

/// Looks at all octets that a client sends in a connection.
#[derive(Debug)]
pub(super) struct Watch {
    at: At,
    /// What is left for frames that carry nothing, in octets ([`OCTETS_PER_IDLE_FRAME`]).
    budget: u64,
    /// When `budget` was looked at, in the board's milliseconds.
    looked_ms: u64,
}

/// A frame that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// Octets of those just looked at that may still be read; the frame is not whole in them.
    pub(super) before: usize,
    pub(super) reason: Reason,
}

impl Watch {
    /// `now_ms`: the board's milliseconds.
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            at: At::Preface(PREFACE),
            budget: IDLE_FRAMES * OCTETS_PER_IDLE_FRAME,
            looked_ms: now_ms,
        }
    }

    /// Octets went to the client.
    pub(super) fn sent(&mut self, octets: usize) {
        self.credit(octets as u64);
    }

    /// Looks at octets that have come. After a fault there must be no other call.
    ///
    /// # Errors
    /// [`Fault`]: FRAME_SIZE_ERROR for a frame whose length its kind does not allow,
    /// FLOW_CONTROL_ERROR for an initial window beyond 2^31 - 1, ENHANCE_YOUR_CALM for more frames
    /// that carry nothing than a client may send.
    pub(super) fn look(&mut self, octets: &[u8], now_ms: u64) -> Result<(), Fault> {
        let passed_ms = now_ms.saturating_sub(self.looked_ms);
        let per_second = IDLE_FRAMES_PER_SECOND * OCTETS_PER_IDLE_FRAME;
        let earned = passed_ms.saturating_mul(per_second) / 1_000;
        // Only the time that is paid for has passed, so that many short looks lose nothing.
        self.looked_ms += earned * 1_000 / per_second;
        self.credit(earned);
        let mut rest = octets;
        while !rest.is_empty() {
            let before = octets.len() - rest.len();
            let used = self.step(rest).map_err(|reason| Fault { before, reason })?;
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    fn credit(&mut self, octets: u64) {
        let most = IDLE_FRAMES * OCTETS_PER_IDLE_FRAME;
        self.budget = self.budget.saturating_add(octets).min(most);
    }

    /// Uses some of the octets; how many.
    fn step(&mut self, octets: &[u8]) -> Result<usize, Reason> {
        let used;
        (self.at, used) = match self.at {
            At::Preface(left) => {
                let used = left.min(octets.len());
                (At::preface(left - used), used)
            }
            At::Head(mut head, filled) => {
                let used = fill(&mut head, filled, octets);
                match filled + used == HEAD {
                    true => (self.frame(head)?, used),
                    false => (At::Head(head, filled + used), used),
                }
            }
            At::Payload(left) => {
                let used = left.min(octets.len());
                (At::payload(left - used), used)
            }
            At::Settings(left, mut setting, filled) => {
                let used = fill(&mut setting, filled, octets);
                match (filled + used == SETTING, left - used) {
                    (false, left) => (At::Settings(left, setting, filled + used), used),
                    (true, left) => {
                        check(setting)?;
                        (At::settings(left), used)
                    }
                }
            }
        };
        Ok(used)
    }

    /// What follows a head.
    fn frame(&mut self, head: [u8; HEAD]) -> Result<At, Reason> {
        let [a, b, c, kind, flags, ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let is_flagged = flags & FLAG_1 != 0;
        let fits = match kind {
            PRIORITY => length == 5,
            RST_STREAM | WINDOW_UPDATE => length == 4,
            SETTINGS if is_flagged => length == 0,
            SETTINGS => length.is_multiple_of(SETTING),
            PING => length == 8,
            GOAWAY => length >= 8,
            _ => true,
        };
        if !fits {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let answer = match kind {
            HEADERS | CONTINUATION => return Ok(At::payload(length)),
            DATA if length > 0 || is_flagged => return Ok(At::payload(length)),
            PING if !is_flagged => PING_ANSWER,
            SETTINGS if !is_flagged => SETTINGS_ANSWER,
            _ => 0,
        };
        self.budget = self
            .budget
            .checked_sub(OCTETS_PER_IDLE_FRAME + answer)
            .ok_or(Reason::ENHANCE_YOUR_CALM)?;
        Ok(match kind {
            SETTINGS => At::settings(length),
            _ => At::payload(length),
        })
    }
}

impl At {
    const HEAD: Self = Self::Head([0; HEAD], 0);

    fn preface(left: usize) -> Self {
        match left {
            0 => Self::HEAD,
            left => Self::Preface(left),
        }
    }

    fn payload(left: usize) -> Self {
        match left {
            0 => Self::HEAD,
            left => Self::Payload(left),
        }
    }

    fn settings(left: usize) -> Self {
        match left {
            0 => Self::HEAD,
            left => Self::Settings(left, [0; SETTING], 0),
        }
    }
}

/// Fills what is still empty; how many octets it took.
fn fill(buffer: &mut [u8], filled: usize, octets: &[u8]) -> usize {
    let empty = buffer.get_mut(filled..).unwrap_or_default();
    let pairs = empty.iter_mut().zip(octets);
    pairs.map(|(to, from)| *to = *from).count()
}

fn check([a, b, value @ ..]: [u8; SETTING]) -> Result<(), Reason> {
    let is_window = u16::from_be_bytes([a, b]) == INITIAL_WINDOW;
    match is_window && u32::from_be_bytes(value) > MAX_WINDOW {
        true => Err(Reason::FLOW_CONTROL_ERROR),
        false => Ok(()),
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
