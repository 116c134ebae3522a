//! Field names that mean something to a gateway, recognised by length and first letter.

/// A field name that we act on; every other one is [`Known::Other`] and passes as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Known {
    Other,
    /// A name that is one of the others when `_` is read as `-`, as CGI, WSGI and PHP do
    /// (RFC 3875, section 4.1.18).
    Lookalike,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    Upgrade,
    Http2Settings,
    ProxyAuthenticate,
    ProxyAuthenticationInfo,
    ProxyAuthorization,
    Expect,
    MaxForwards,
    Cookie,
    Via,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XForwardedPort,
    XRealIp,
    XClientProto,
    XClientProtoVer,
    XRequestId,
    /// Any name that begins with `X-SSL-Client-`, and `X-SSL-Client` itself.
    XSslClient,
    Date,
    ContentType,
    ContentRange,
    Range,
    IfModifiedSince,
    IfUnmodifiedSince,
    IfRange,
    Authorization,
    Location,
    Traceparent,
    Tracestate,
}

/// A set of [`Known`] names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Names(u64);

impl Names {
    pub(crate) const fn of(names: &[Known]) -> Self {
        let mut bits = 0;
        let mut rest = names;
        while let [name, others @ ..] = rest {
            bits |= 1 << *name as u8;
            rest = others;
        }
        Self(bits)
    }

    /// The names of both sets.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub(crate) fn contains(self, name: Known) -> bool {
        self.0 & (1 << name as u8) != 0
    }

    /// Adds `name`; true if it was there before.
    #[inline]
    pub(crate) fn add(&mut self, name: Known) -> bool {
        let was = self.contains(name);
        self.0 |= 1 << name as u8;
        was
    }
}

/// Fields that concern one connection only and are removed by every intermediary, both ways
/// (RFC 9110, section 7.6.1; sections 11.7.1 to 11.7.3 for those of proxies, since we are nobody's
/// chosen proxy; RFC 9113, appendix B, for HTTP2-Settings). What of them the next connection needs
/// is written anew.
pub(crate) const HOP_BY_HOP: Names = Names::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Http2Settings,
    Known::ProxyAuthenticate,
    Known::ProxyAuthenticationInfo,
    Known::ProxyAuthorization,
]);

/// Fields that Connection cannot remove by naming them: those that frame or route the message,
/// those that we write, and those that are removed anyway.
pub(crate) const NOT_BY_NAMING: Names = Names::of(&[
    Known::Host,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Expect,
    Known::MaxForwards,
    Known::Via,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XRealIp,
    Known::XClientProto,
    Known::XClientProtoVer,
    Known::XRequestId,
    Known::XSslClient,
    Known::Date,
]);

/// Which name `name` is, its letters in any case; `has_underscore` must give true if `_` is in it.
#[inline]
pub(crate) fn known(name: &[u8], has_underscore: impl FnOnce() -> bool) -> Known {
    // Most write them as the RFCs do, and of a known length that takes two comparisons.
    let found = lookup(name, |name, known| {
        name == known || name.eq_ignore_ascii_case(known)
    });
    if found == Known::Other && has_underscore() && lookup(name, eq_folded) != Known::Other {
        return Known::Lookalike;
    }
    found
}

/// Equal when case is ignored and `_` is taken for `-`.
fn eq_folded(left: &[u8], right: &[u8]) -> bool {
    let fold = |octet: &u8| match octet {
        b'_' => b'-',
        octet => octet.to_ascii_lowercase(),
    };
    left.iter().map(fold).eq(right.iter().map(fold))
}

const SSL_CLIENT: &[u8] = b"X-SSL-Client-";

#[inline]
fn lookup(name: &[u8], eq: impl Fn(&[u8], &[u8]) -> bool) -> Known {
    let Some(first) = name.first() else {
        return Known::Other;
    };
    let is = |text: &[u8], known: Known| match eq(name, text) {
        true => known,
        false => Known::Other,
    };
    let either = |left: (&[u8], Known), right: (&[u8], Known)| match eq(name, left.0) {
        true => left.1,
        false => is(right.0, right.1),
    };
    match (name.len(), first.to_ascii_lowercase()) {
        (2, b't') => is(b"TE", Known::Te),
        (3, b'v') => is(b"Via", Known::Via),
        (4, b'h') => is(b"Host", Known::Host),
        (4, b'd') => is(b"Date", Known::Date),
        (5, b'r') => is(b"Range", Known::Range),
        (6, b'c') => is(b"Cookie", Known::Cookie),
        (6, b'e') => is(b"Expect", Known::Expect),
        (7, b't') => is(b"Trailer", Known::Trailer),
        (7, b'u') => is(b"Upgrade", Known::Upgrade),
        (8, b'i') => is(b"If-Range", Known::IfRange),
        (8, b'l') => is(b"Location", Known::Location),
        (9, b'x') => is(b"X-Real-IP", Known::XRealIp),
        (10, b'c') => is(b"Connection", Known::Connection),
        (10, b'k') => is(b"Keep-Alive", Known::KeepAlive),
        (10, b't') => is(b"tracestate", Known::Tracestate),
        (11, b't') => is(b"traceparent", Known::Traceparent),
        (12, b'c') => is(b"Content-Type", Known::ContentType),
        (12, b'm') => is(b"Max-Forwards", Known::MaxForwards),
        (12, b'x') => either(
            (b"X-Request-Id", Known::XRequestId),
            (b"X-SSL-Client", Known::XSslClient),
        ),
        (13, b'a') => is(b"Authorization", Known::Authorization),
        (13, b'c') => is(b"Content-Range", Known::ContentRange),
        (14, b'c') => is(b"Content-Length", Known::ContentLength),
        (14, b'h') => is(b"HTTP2-Settings", Known::Http2Settings),
        (14, b'x') if eq(name, b"X-Client-Proto") => Known::XClientProto,
        (15, b'x') if eq(name, b"X-Forwarded-For") => Known::XForwardedFor,
        (16, b'p') => is(b"Proxy-Connection", Known::ProxyConnection),
        (16, b'x') if eq(name, b"X-Forwarded-Host") => Known::XForwardedHost,
        (16, b'x') if eq(name, b"X-Forwarded-Port") => Known::XForwardedPort,
        (17, b'i') => is(b"If-Modified-Since", Known::IfModifiedSince),
        (17, b't') => is(b"Transfer-Encoding", Known::TransferEncoding),
        (17, b'x') if eq(name, b"X-Forwarded-Proto") => Known::XForwardedProto,
        (18, b'p') => is(b"Proxy-Authenticate", Known::ProxyAuthenticate),
        (18, b'x') if eq(name, b"X-Client-Proto-Ver") => Known::XClientProtoVer,
        (19, b'i') => is(b"If-Unmodified-Since", Known::IfUnmodifiedSince),
        (19, b'p') => is(b"Proxy-Authorization", Known::ProxyAuthorization),
        (25, b'p') => is(b"Proxy-Authentication-Info", Known::ProxyAuthenticationInfo),
        (13.., b'x') => match name.get(..SSL_CLIENT.len()) {
            Some(prefix) if eq(prefix, SSL_CLIENT) => Known::XSslClient,
            _ => Known::Other,
        },
        _ => Known::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[(&str, Known)] = &[
        ("Host", Known::Host),
        ("Content-Length", Known::ContentLength),
        ("Transfer-Encoding", Known::TransferEncoding),
        ("Connection", Known::Connection),
        ("Keep-Alive", Known::KeepAlive),
        ("Proxy-Connection", Known::ProxyConnection),
        ("TE", Known::Te),
        ("Trailer", Known::Trailer),
        ("Upgrade", Known::Upgrade),
        ("HTTP2-Settings", Known::Http2Settings),
        ("Proxy-Authenticate", Known::ProxyAuthenticate),
        ("Proxy-Authentication-Info", Known::ProxyAuthenticationInfo),
        ("Proxy-Authorization", Known::ProxyAuthorization),
        ("Expect", Known::Expect),
        ("Max-Forwards", Known::MaxForwards),
        ("Cookie", Known::Cookie),
        ("Via", Known::Via),
        ("X-Forwarded-For", Known::XForwardedFor),
        ("X-Forwarded-Proto", Known::XForwardedProto),
        ("X-Forwarded-Host", Known::XForwardedHost),
        ("X-Forwarded-Port", Known::XForwardedPort),
        ("X-Real-IP", Known::XRealIp),
        ("X-Client-Proto", Known::XClientProto),
        ("X-Client-Proto-Ver", Known::XClientProtoVer),
        ("X-Request-Id", Known::XRequestId),
        ("X-SSL-Client", Known::XSslClient),
        ("X-SSL-Client-Verify", Known::XSslClient),
        ("X-SSL-Client-S", Known::XSslClient),
        ("X-SSL-Client-DN", Known::XSslClient),
        ("X-SSL-Client-Cert", Known::XSslClient),
        ("X-SSL-Client-S-DN", Known::XSslClient),
        ("X-SSL-Client-", Known::XSslClient),
        ("Date", Known::Date),
        ("Content-Type", Known::ContentType),
        ("Content-Range", Known::ContentRange),
        ("Range", Known::Range),
        ("If-Modified-Since", Known::IfModifiedSince),
        ("If-Unmodified-Since", Known::IfUnmodifiedSince),
        ("If-Range", Known::IfRange),
        ("Authorization", Known::Authorization),
        ("Location", Known::Location),
    ];

    #[test]
    fn every_name_in_any_case() {
        for (name, expected) in NAMES {
            for name in [(*name).to_owned(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(
                    known(name.as_bytes(), || name.contains('_')),
                    *expected,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn underscores_make_lookalikes() {
        for (name, _) in NAMES.iter().filter(|(name, _)| name.contains('-')) {
            let all = name.replace('-', "_");
            let first = name.replacen('-', "_", 1);
            for name in [all, first] {
                assert_eq!(
                    known(name.as_bytes(), || name.contains('_')),
                    Known::Lookalike,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_rest_is_other() {
        for name in [
            "",
            "H",
            "Hosts",
            "Xost",
            "Content-Lengt",
            "Content-Length1",
            "ContentXLength",
            "X-SSL-Clien",
            "X-Custom_Field",
            "_",
            "XX-SSL-Client-",
            "X-Forwarded-Fox",
            "Forwarded",
        ] {
            assert_eq!(
                known(name.as_bytes(), || name.contains('_')),
                Known::Other,
                "{name}"
            );
        }
    }

    #[test]
    fn sets() {
        let mut names = Names::default();
        assert!(!names.add(Known::Location));
        assert!(names.add(Known::Location));
        assert!(!names.contains(Known::Host));
        assert!(HOP_BY_HOP.contains(Known::Te));
        assert!(!HOP_BY_HOP.contains(Known::Other));
    }
}
