//! Weighted round robin, least_conn, ip_hash and session persistence; no I/O, no clock.
//!
//! Everything here is shared by all workers and lock-free but for [`Persistence`] of layer 4, whose
//! locks are sharded; that of layer 7 lies with the client, in a cookie that [`CookieKey`] seals. Members are named by their index in the pool; what an index stands for is the
//! caller's matter.

mod cookie;
mod cursor;
mod ip_hash;
mod least_conn;
mod persistence;
mod sequence;

pub use cookie::{
    COOKIE_CLOCK_SKEW, COOKIE_NONCE, COOKIE_VALUE_CHARS, CookieKey, CookieValue, OpenedCookie,
    SetCookie,
};
pub use cursor::Cursor;
pub use ip_hash::{ClientHash, IpHash};
pub use least_conn::{LeastConn, Member};
pub use persistence::{Persistence, Remembered};
pub use sequence::{Occurrences, Sequence};
