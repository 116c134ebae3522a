//! What the rows about answers share.

use anyhow::Result;

use crate::harness::*;

/// A plain request.
pub const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
/// A plain request for a head.
pub const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n";

/// A 200 with these fields and this body.
pub fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}")
}

/// A 200 with this body.
pub fn body(expected: &'static str) -> impl Fn(&Answer) -> Result<()> + Send + Sync {
    move |answer| answer.status(200)?.body.is(expected)
}

/// 502 is as good.
pub fn or_502(
    check: impl Fn(&Answer) -> Result<()> + Send + Sync,
) -> impl Fn(&Answer) -> Result<()> + Send + Sync {
    move |answer| {
        if answer.status == 502 {
            Ok(())
        } else {
            check(answer)
        }
    }
}
