//! What can be wrong with a pattern, and why a request finds no rule.

use std::sync::Arc;

/// Why a domain or url is refused although its form is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// PCRE2 does not compile it.
    #[error("{text:?} is no regular expression (PCRE): {reason}, after character {position}")]
    Syntax {
        /// The whole domain or url.
        text: String,
        /// How many characters of `text`, the modifier included, PCRE2 had read when it gave up.
        position: usize,
        /// In PCRE2's words.
        reason: String,
    },
    /// `(*…` at the start changes how PCRE2 works as a whole (its limits, for one).
    #[error(
        "{text:?} begins with \"(*\" after its modifier; settings of the engine are not allowed"
    )]
    Setting {
        /// The whole domain or url.
        text: String,
    },
}

/// Why a request has no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The host is one that nginx refuses.
    #[error("bad host: {0}")]
    BadHost(#[from] HostFault),
    /// The path is one that nginx refuses.
    #[error("bad request target: {0}")]
    BadPath(#[from] PathFault),
    /// No rule's domain matches the host, or the request has none.
    #[error("no rule has a domain for this host")]
    NoDomain,
    /// The domain that matches has no url for the path.
    #[error("no rule of the domain has a url for this path")]
    NoLocation,
    /// A regular expression took more steps than [`crate::MATCH_LIMIT`] allows, or more memory than
    /// the engine has for them. Never taken for "does not match".
    #[error("matching {0:?} took too many steps")]
    MatchLimit(Arc<str>),
}

impl RouteError {
    /// The status that nginx answers in this case.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadHost(_) | Self::BadPath(_) => 400,
            Self::NoDomain | Self::NoLocation => 404,
            Self::MatchLimit(_) => 500,
        }
    }
}

/// What is wrong with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// A blank, a control character or a `/`.
    #[error("it has the byte {0:#04x}")]
    Byte(u8),
    /// Two dots in a row.
    #[error("it has an empty label")]
    EmptyLabel,
    /// Nothing is left without port and dot.
    #[error("it is empty without its port")]
    Empty,
}

/// What is wrong with a request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with `/` (nor, as in `http://host?query`, with `?`).
    #[error("it does not begin with \"/\"")]
    NotAbsolute,
    /// A blank or a control character, in the path or after it.
    #[error("it has the byte {0:#04x}")]
    Byte(u8),
    /// A `%` without two hexadecimal digits.
    #[error("it has a \"%\" that two hexadecimal digits do not follow")]
    Escape,
    /// `%00`.
    #[error("it has %00")]
    Zero,
    /// `..` where nothing is left to go up from.
    #[error("its \"..\" leave the root")]
    AboveRoot,
}
