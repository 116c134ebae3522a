//! The Location of a redirected rule's answer.

use clb_model::PathMap;
use clb_routing::RouteError;
use clb_snapshot::Redirect;

/// The address that `redirect` sends a request to (semantics.md 6; ADR 20): a valid URI (RFC 3986)
/// whatever the request has. `host` is the request's without port, as the parser has accepted it;
/// `target` is its path and query as sent, or `*`, which asks about the host as a whole and has the
/// path `/` here as in routing.
///
/// What is kept of the path is kept as it was sent. Where slashes were merged or dot segments
/// resolved in it, it is written anew from the path that the rule was chosen by.
///
/// # Errors
/// For a path that routing refuses too.
pub(crate) fn location(
    redirect: &Redirect,
    host: &[u8],
    target: &[u8],
) -> Result<Vec<u8>, RouteError> {
    let target = match target {
        b"*" => b"/",
        target => target,
    };
    let end = target.iter().position(|&octet| octet == b'?');
    let (sent, query) = target.split_at(end.unwrap_or(target.len()));
    let mut buffer = Vec::new();
    let path = clb_routing::resolve_path(sent, &mut buffer)?;
    let (to, slash, rest) = redirect.path.split(path);

    let mut out = Vec::with_capacity(host.len() + to.len() + target.len() + 16);
    out.extend_from_slice(redirect.scheme().as_bytes());
    out.extend_from_slice(b"://");
    out.extend_from_slice(host);
    if let Some(port) = redirect.named_port() {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    push_path(to.as_bytes(), &mut out);
    out.extend_from_slice(slash.as_bytes());
    let kept = match &redirect.path {
        PathMap::Kept if !sent.is_empty() => Some(sent),
        _ => as_sent(sent, rest),
    };
    match kept {
        Some(sent) => push_sent(sent, is_path_octet, &mut out),
        None => push_path(rest, &mut out),
    }
    push_sent(
        query,
        |octet| is_path_octet(octet) || octet == b'?',
        &mut out,
    );
    Ok(out)
}

/// The end of the path that `rest` was decoded from, if nothing but escapes differs between them.
fn as_sent<'s>(sent: &'s [u8], rest: &[u8]) -> Option<&'s [u8]> {
    let mut at = sent.len();
    // From the end: what stands before the rest may have been resolved, which does not matter.
    for &wanted in rest.iter().rev() {
        let before = sent.get(..at)?;
        let (length, found) = match before {
            [.., b'%', high, low] if escaped(*high, *low).is_some() => (3, escaped(*high, *low)?),
            [.., octet] => (1, *octet),
            [] => return None,
        };
        if found != wanted {
            return None;
        }
        at -= length;
    }
    // A slash that was escaped must not follow the host.
    let sent = sent.get(at..)?;
    (rest.first() != Some(&b'/') || sent.starts_with(b"/")).then_some(sent)
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// What may stand in a path as it is: pchar and `/` (RFC 3986, section 3.3).
fn is_path_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&octet)
}

/// Appends a decoded path.
fn push_path(path: &[u8], out: &mut Vec<u8>) {
    for &octet in path {
        match is_path_octet(octet) {
            true => out.push(octet),
            false => push_escaped(octet, out),
        }
    }
}

/// Appends what was sent: escapes stay, and what should have been escaped is.
fn push_sent(text: &[u8], is_allowed: fn(u8) -> bool, out: &mut Vec<u8>) {
    let mut rest = text;
    while let [octet, after @ ..] = rest {
        let is_escape = matches!(rest, [b'%', high, low, ..] if escaped(*high, *low).is_some());
        match is_escape || is_allowed(*octet) {
            true => out.push(*octet),
            false => push_escaped(*octet, out),
        }
        rest = after;
    }
}

fn push_escaped(octet: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("%{octet:02X}").as_bytes());
}

#[cfg(test)]
#[path = "redirect_tests.rs"]
mod tests;
