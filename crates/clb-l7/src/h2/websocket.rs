//! The keys of a WebSocket's opening (RFC 6455, section 4), which HTTP/2 does without (RFC 8441,
//! section 5): towards the backend the gateway is the client that asks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// What is hashed after the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A Sec-WebSocket-Key of 16 random octets.
pub(super) fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// The Sec-WebSocket-Accept that proves that a server has understood the key.
pub(super) fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455, 1.3
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(key([0; 16]).len(), 24);
    }
}
