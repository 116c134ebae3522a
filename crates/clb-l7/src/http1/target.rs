//! The request-target (RFC 9112, section 3.2) and hosts (RFC 9110, sections 4.2 and 7.2).

use std::net::Ipv6Addr;

use super::method::Method;
use super::octets::{from, part};
use super::refusal::Refusal;

/// How the client reached us; an absolute-form target must have its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

/// A host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// Without the port; an IPv6 address with its brackets.
    pub(crate) host: &'a [u8],
    /// As sent; a colon without digits after it is left out.
    pub(crate) text: &'a [u8],
}

/// A request-target that the method may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Path and query.
    Origin(&'a [u8]),
    /// `OPTIONS *`.
    Asterisk,
    /// With scheme and authority. The rest is path and query as sent: it may be empty or begin
    /// with `?`.
    Absolute(Scheme, Authority<'a>, &'a [u8]),
}

/// What may stand in a path, a query, a host. Stricter than what every parser takes, looser than RFC 3986:
/// refused is what every browser escapes (URL Standard, sections 1.3 and 4.4), so that `|`, `^`,
/// brackets and, in queries, braces, pass, which RFC 3986 would have escaped and many send.
const PATH: u8 = 1;
const QUERY: u8 = 2;
const HOST: u8 = 4;

#[expect(clippy::indexing_slicing, reason = "runs when this is compiled")]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0x21_u8;
    while octet < 0x7f {
        classes[octet as usize] = match octet {
            b'"' | b'<' | b'>' | b'#' => 0,
            b'\\' | b'`' | b'{' | b'}' => QUERY,
            // The path ends there, or it is looked at more closely.
            b'?' | b'%' => QUERY,
            // RFC 3986, section 3.2.2: unreserved and sub-delims. Not the comma, which is what a
            // list of two hosts would have, and no escapes, which some decode.
            b'-' | b'.' | b'_' | b'~' => PATH | QUERY | HOST,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=' => {
                PATH | QUERY | HOST
            }
            _ if octet.is_ascii_alphanumeric() => PATH | QUERY | HOST,
            _ => PATH | QUERY,
        };
        octet += 1;
    }
    classes
};

#[inline]
fn classes_of(octet: u8) -> u8 {
    CLASSES.get(usize::from(octet)).copied().unwrap_or_default()
}

#[inline]
fn is(octet: u8, class: u8) -> bool {
    classes_of(octet) & class != 0
}

/// Reads the target of `method`.
///
/// # Errors
/// [`Refusal`], all but [`Refusal::SchemeElsewhere`].
#[inline]
pub(crate) fn read_target<'a>(method: Method<'_>, target: &'a [u8]) -> Result<Target<'a>, Refusal> {
    match target {
        [b'/', ..] => check_path_and_query(target).map(|()| Target::Origin(target)),
        b"*" if method == Method::Options => Ok(Target::Asterisk),
        b"*" => Err(Refusal::TargetForm),
        _ => read_absolute(target),
    }
}

/// Checks path and query; of an absolute-form's rest, which may have no path, too.
#[inline]
fn check_path_and_query(text: &[u8]) -> Result<(), Refusal> {
    let mut rest = text;
    loop {
        let Some(stop) = rest.iter().position(|&octet| !is(octet, PATH)) else {
            return Ok(());
        };
        match from(rest, stop) {
            [b'?', query @ ..] => {
                return match query.iter().all(|&octet| is(octet, QUERY)) {
                    true => Ok(()),
                    false => Err(Refusal::TargetOctet),
                };
            }
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit()
                    && low.is_ascii_hexdigit()
                    && (*high, *low) != (b'0', b'0') =>
            {
                rest = after;
            }
            [b'%', ..] => return Err(Refusal::TargetEscape),
            _ => return Err(Refusal::TargetOctet),
        }
    }
}

/// Reads `scheme "://" authority path-abempty [ "?" query ]`.
fn read_absolute(target: &[u8]) -> Result<Target<'_>, Refusal> {
    let Some(colon) = target.iter().position(|&octet| octet == b':') else {
        return Err(octets_or(target, Refusal::TargetForm));
    };
    let (scheme, rest) = target.split_at_checked(colon).unwrap_or_default();
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(octet));
    let Some(rest) = rest.strip_prefix(b"://") else {
        // host:port, or a scheme without an authority
        return Err(octets_or(target, Refusal::TargetForm));
    };
    let scheme = if scheme.eq_ignore_ascii_case(b"http") {
        Scheme::Http
    } else if scheme.eq_ignore_ascii_case(b"https") {
        Scheme::Https
    } else {
        let fault = match is_scheme {
            true => Refusal::Scheme,
            false => Refusal::TargetForm,
        };
        return Err(octets_or(target, fault));
    };
    let end = rest
        .iter()
        .position(|octet| b"/?".contains(octet))
        .unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or_default();
    check_path_and_query(rest)?;
    let authority = read_authority(authority).ok_or(Refusal::TargetAuthority)?;
    Ok(Target::Absolute(scheme, authority, rest))
}

/// [`Refusal::TargetOctet`] where an octet is wrong in any form of target, else `fault`.
fn octets_or(target: &[u8], fault: Refusal) -> Refusal {
    match target.iter().all(|&octet| is(octet, PATH | QUERY)) {
        true => fault,
        false => Refusal::TargetOctet,
    }
}

/// Whether `target` is `host:port`, the only form that CONNECT has.
pub(crate) fn is_authority_form(target: &[u8]) -> bool {
    read_authority(target).is_some_and(|authority| {
        authority.host.len() < authority.text.len() && authority.text == target
    })
}

/// Reads `uri-host [ ":" port ]`; `None` unless it is one host that everybody reads alike: not
/// empty, no user information, no list, no escapes, no empty label but one at the end (as nginx),
/// an IPv6 address in brackets, a port of at most five digits.
#[inline]
pub(crate) fn read_authority(text: &[u8]) -> Option<Authority<'_>> {
    let length = match text.first()? {
        b'[' => {
            let end = text.iter().position(|&octet| octet == b']')?;
            let address = std::str::from_utf8(text.get(1..end)?).ok()?;
            address.parse::<Ipv6Addr>().ok()?;
            end + 1
        }
        _ => {
            let length = text.iter().position(|&octet| octet == b':');
            let length = length.unwrap_or(text.len());
            // Without a way out of the loop, which would cost more than it saves.
            let (mut classes, mut has_empty_label, mut before) = (HOST, false, 0);
            for &octet in part(text, 0, length) {
                classes &= classes_of(octet);
                has_empty_label |= octet == b'.' && before == b'.';
                before = octet;
            }
            if classes & HOST == 0 || has_empty_label {
                return None;
            }
            length
        }
    };
    let (host, port) = text.split_at_checked(length)?;
    if host.is_empty() || host == b"." {
        return None;
    }
    let text = match port {
        [] => text,
        // RFC 9110, section 4.2.3: an empty port is the default one and is left out.
        b":" => host,
        [b':', digits @ ..] if digits.len() <= 5 => {
            let port = super::octets::decimal(digits)?;
            (port <= u64::from(u16::MAX)).then_some(text)?
        }
        _ => return None,
    };
    Some(Authority { host, text })
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
