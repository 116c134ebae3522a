//! Methods (RFC 9110, section 9).

/// A method; case counts (RFC 9110, section 9.1). CONNECT never gets here, it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH
    Patch,
    /// Any other token; backends decide what they make of it.
    Other(&'a [u8]),
}

/// Most octets of a method: the longest registered one has 17.
pub(crate) const METHOD_LENGTH: usize = 32;

impl<'a> Method<'a> {
    /// The method that `name` names.
    #[inline]
    #[must_use]
    pub fn new(name: &'a [u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other(name),
        }
    }

    /// As it stands in the request line.
    #[inline]
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        match self {
            Self::Get => b"GET",
            Self::Head => b"HEAD",
            Self::Post => b"POST",
            Self::Put => b"PUT",
            Self::Delete => b"DELETE",
            Self::Options => b"OPTIONS",
            Self::Trace => b"TRACE",
            Self::Patch => b"PATCH",
            Self::Other(name) => name,
        }
    }

    /// Whether doing it twice is like doing it once, so that it may be sent to another backend
    /// (RFC 9110, section 9.2.2). Unknown methods are not.
    #[inline]
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace => true,
            Self::Post | Self::Patch | Self::Other(_) => false,
        }
    }

    /// Whether a body belongs to it. GET, HEAD and DELETE may have one, but backends exist that do
    /// not read it and take it for the next request (RFC 9110, sections 9.3.1, 9.3.2 and 9.3.5).
    #[inline]
    pub(crate) fn has_usual_body(&self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }

    /// What an answer's framing depends on.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> MethodKind {
        match self {
            Self::Head => MethodKind::Head,
            _ => MethodKind::Other,
        }
    }
}

/// What of the method decides where the answer ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MethodKind {
    /// HEAD: the answer has no body, whatever its fields say.
    Head,
    /// Any other (CONNECT is refused).
    #[default]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "FOO",
        ] {
            let method = Method::new(name.as_bytes());
            assert_eq!(method.name(), name.as_bytes());
            // RFC 9110, 9.2.2
            let idempotent = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"].contains(&name);
            assert_eq!(method.is_idempotent(), idempotent, "{name}");
            assert_eq!(method.kind() == MethodKind::Head, name == "HEAD");
        }
        assert_eq!(Method::new(b"get"), Method::Other(b"get"));
    }
}
