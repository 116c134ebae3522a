//! One regular expression: PCRE2, which decides, and what the prefilter may know of it.

use std::sync::Arc;

use clb_model::{DomainPattern, UrlModifier, UrlPattern};
use pcre2::bytes::{Regex, RegexBuilder};

use crate::error::{PatternError, RouteError};
use crate::superset;

/// Steps (PCRE2's "match limit") that one expression may take on one host or path. PCRE2's own
/// default, which nginx leaves as it is, is 10,000,000: 20 ms and more for one request. This many
/// take about a quarter of a millisecond at most.
pub const MATCH_LIMIT: u32 = 100_000;

/// A compiled expression, named by the domain or url that it stands in.
#[derive(Debug)]
pub(crate) struct Matcher {
    text: Arc<str>,
    regex: Regex,
    superset: Option<String>,
}

impl Matcher {
    /// Of a domain `~…`; `None` when it is no regular expression.
    ///
    /// Compared with the lower-case host. nginx ignores case exactly when the expression has a
    /// capital letter anywhere, be it the `D` of `\D`.
    pub(crate) fn domain(domain: &DomainPattern) -> Option<Result<Self, PatternError>> {
        let expression = domain.regex()?;
        let no_case = expression.bytes().any(|byte| byte.is_ascii_uppercase());
        Some(Self::compile(domain.as_str(), expression, no_case))
    }

    /// Of a url `~ …` or `~* …`; `None` when it is no regular expression.
    pub(crate) fn url(url: &UrlPattern) -> Option<Result<Self, PatternError>> {
        let no_case = match url.modifier() {
            UrlModifier::Regex => false,
            UrlModifier::RegexNoCase => true,
            UrlModifier::Prefix | UrlModifier::Exact | UrlModifier::PrefixNoRegex => return None,
        };
        Some(Self::compile(url.as_str(), url.expression(), no_case))
    }

    fn compile(text: &str, expression: &str, no_case: bool) -> Result<Self, PatternError> {
        if expression.starts_with("(*") {
            return Err(PatternError::Setting {
                text: text.to_owned(),
            });
        }
        let limit = format!("(*LIMIT_MATCH={MATCH_LIMIT})");
        let regex = RegexBuilder::new()
            .caseless(no_case)
            .jit_if_available(true)
            .build(&format!("{limit}{expression}"))
            .map_err(|error| PatternError::Syntax {
                text: text.to_owned(),
                position: position(text, expression, &error, limit.len()),
                reason: reason(&error),
            })?;
        Ok(Self {
            text: text.into(),
            regex,
            superset: superset::of(expression, no_case),
        })
    }

    /// The domain or url, modifier included.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// An expression in the syntax of `regex-automata` that matches whatever this one matches, and
    /// perhaps more.
    pub(crate) fn superset(&self) -> Option<&str> {
        self.superset.as_deref()
    }

    /// # Errors
    /// [`RouteError::MatchLimit`].
    pub(crate) fn is_match(&self, subject: &[u8]) -> Result<bool, RouteError> {
        self.regex
            .is_match(subject)
            .map_err(|_| RouteError::MatchLimit(Arc::clone(&self.text)))
    }
}

/// Where PCRE2 gave up, in characters of the whole text.
fn position(text: &str, expression: &str, error: &pcre2::Error, skipped: usize) -> usize {
    let bytes =
        text.len() - expression.len() + error.offset().unwrap_or(skipped).saturating_sub(skipped);
    text.char_indices()
        .take_while(|&(start, _)| start < bytes)
        .count()
}

/// PCRE2's message without the crate's introduction, whose offset counts our prefix.
fn reason(error: &pcre2::Error) -> String {
    let whole = error.to_string();
    let introduction = format!("at offset {}: ", error.offset().unwrap_or_default());
    match whole.split_once(&introduction) {
        Some((_, reason)) => reason.to_owned(),
        None => whole,
    }
}

/// Whether a domain may be used: a regular expression must compile.
///
/// # Errors
/// [`PatternError`].
pub fn check_domain(domain: &DomainPattern) -> Result<(), PatternError> {
    Matcher::domain(domain).transpose().map(drop)
}

/// Whether a url may be used: a regular expression must compile.
///
/// # Errors
/// [`PatternError`].
pub fn check_url(url: &UrlPattern) -> Result<(), PatternError> {
    Matcher::url(url).transpose().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<Matcher, PatternError> {
        Matcher::url(&UrlPattern::parse(text).unwrap()).unwrap()
    }

    fn domain(text: &str) -> Matcher {
        Matcher::domain(&DomainPattern::parse(text).unwrap())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn pcre_has_its_say() {
        for (text, path, matches) in [
            (r"~ ^/(?!admin)", "/user", true),
            (r"~ ^/(?!admin)", "/admin", false),
            (r"~ (?<=/v)\d", "/v1", true),
            (r"~ ^/(\w+)/\1$", "/aa/aa", true),
            (r"~ ^/(\w+)/\1$", "/aa/ab", false),
            (r"~ ^/(?<x>\w+)/\k<x>$", "/aa/aa", true),
            (r"~ \.php$", "/a.php\n", true),
            (r"~ \.php$", "/a.PHP", false),
            (r"~* \.php$", "/a.PHP", true),
            ("~* \u{e9}", "/\u{c9}", false),
            (r"~ ^/.$", "/\u{e9}", false),
        ] {
            assert_eq!(
                url(text).unwrap().is_match(path.as_bytes()),
                Ok(matches),
                "{text} {path}"
            );
        }
    }

    #[test]
    fn a_capital_letter_makes_a_domain_ignore_case() {
        assert_eq!(domain(r"~^www\D$").is_match(b"wwwx"), Ok(true));
        assert_eq!(domain("~^WWW$").is_match(b"www"), Ok(true));
        assert_eq!(domain("~^www$").is_match(b"WWW"), Ok(false));
        assert_eq!(domain(r"~^www\D?$").is_match(b"WWW"), Ok(true));
    }

    #[test]
    fn what_does_not_compile_is_refused_with_the_place() {
        assert_eq!(
            url("~*  ^/(\u{e9}").unwrap_err(),
            PatternError::Syntax {
                text: "~*  ^/(\u{e9}".to_owned(),
                position: 8,
                reason: "missing closing parenthesis".to_owned(),
            }
        );
        let refused = url("~ a**").unwrap_err().to_string();
        assert!(refused.contains("after character 4"), "{refused}");
        assert_eq!(
            check_url(&UrlPattern::parse("~ (*LIMIT_MATCH=1)a").unwrap()),
            Err(PatternError::Setting {
                text: "~ (*LIMIT_MATCH=1)a".to_owned()
            })
        );
        assert!(check_domain(&DomainPattern::parse("~(").unwrap()).is_err());
        assert_eq!(check_domain(&DomainPattern::parse("a").unwrap()), Ok(()));
        assert_eq!(check_url(&UrlPattern::parse("= /a").unwrap()), Ok(()));
    }

    #[test]
    fn too_many_steps_are_an_error() {
        let evil = url("~ ^/(a+)+$").unwrap();
        let path = format!("/{}b", "a".repeat(40));
        assert_eq!(
            evil.is_match(path.as_bytes()),
            Err(RouteError::MatchLimit("~ ^/(a+)+$".into()))
        );
        // A long path alone is no reason.
        let path = "/abcdefg".repeat(2000);
        assert_eq!(
            url(r"~ \.php$").unwrap().is_match(path.as_bytes()),
            Ok(false)
        );
        assert_eq!(
            url(r"~ ^(.*)\.(\w+)$").unwrap().is_match(path.as_bytes()),
            Ok(false)
        );
    }
}
