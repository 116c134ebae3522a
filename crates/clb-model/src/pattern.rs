//! What a rule matches: a domain and a path, as the API spells them (actions.md,
//! CreateForwardLBListenerRules). That a regular expression compiles is checked by `clb-routing`,
//! which has the engine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest domain or url of a rule, modifier included, in characters.
pub const PATTERN_CHARS: usize = 80;

/// Why a text is no domain or url of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Nothing was given.
    #[error("must have 1 to {PATTERN_CHARS} characters, and is empty")]
    Empty,
    /// More than [`PATTERN_CHARS`].
    #[error("must have 1 to {PATTERN_CHARS} characters, and has {0}")]
    TooLong(usize),
    /// A character that the form does not know.
    #[error("has {character:?} at character {position}; allowed are {allowed}")]
    Character {
        /// Which one.
        character: char,
        /// Where, counted from 1.
        position: usize,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A `*` in the middle, or more than one.
    #[error("has a \"*\" that is not the whole first or the whole last label, as in *.x and x.*")]
    Wildcard,
    /// Two dots in a row, or one at the end: no host that a client may send has these.
    #[error("has an empty label: two dots in a row, or a dot at the end")]
    EmptyLabel,
    /// A modifier and nothing after it.
    #[error("has no expression after the modifier {0:?}")]
    NoExpression(&'static str),
}

/// How a [`DomainPattern`] matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainKind {
    /// `www.example.com`: that host.
    Exact,
    /// `.example.com`: that host and everything under it.
    Suffix,
    /// `*.example.com`: everything under that host.
    WildcardStart,
    /// `www.example.*`: every host that begins so.
    WildcardEnd,
    /// `~…`: hosts that the regular expression matches.
    Regex,
}

/// The domain of a rule, spelled as given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainPattern(String);

const DOMAIN_CHARACTERS: &str = "letters, digits, \"-\", \".\" and one \"*\" as the first or last label; a regular expression begins with \"~\"";

impl DomainPattern {
    /// Reads a domain.
    ///
    /// # Errors
    /// [`BadPattern`] when it has none of the three forms.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        check_length(text)?;
        if let Some(expression) = text.strip_prefix('~') {
            return match expression.is_empty() {
                true => Err(BadPattern::NoExpression("~")),
                false => Ok(Self(text.to_owned())),
            };
        }
        check_characters(text, DOMAIN_CHARACTERS, |character| {
            character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '*')
        })?;
        let rest = text
            .strip_prefix("*.")
            .or_else(|| text.strip_suffix(".*"))
            .or_else(|| text.strip_prefix('.'))
            .unwrap_or(text);
        if rest.contains('*') {
            return Err(BadPattern::Wildcard);
        }
        if rest.split('.').any(str::is_empty) {
            return Err(BadPattern::EmptyLabel);
        }
        Ok(Self(text.to_owned()))
    }

    /// As given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How it matches.
    #[must_use]
    pub fn kind(&self) -> DomainKind {
        if self.0.starts_with('~') {
            DomainKind::Regex
        } else if self.0.starts_with("*.") {
            DomainKind::WildcardStart
        } else if self.0.ends_with(".*") {
            DomainKind::WildcardEnd
        } else if self.0.starts_with('.') {
            DomainKind::Suffix
        } else {
            DomainKind::Exact
        }
    }

    /// The regular expression, without its `~`.
    #[must_use]
    pub fn regex(&self) -> Option<&str> {
        self.0.strip_prefix('~')
    }

    /// What two domains that are the same have in common: plain and wildcard domains do not
    /// distinguish case, regular expressions do.
    #[must_use]
    pub fn key(&self) -> String {
        match self.kind() {
            DomainKind::Regex => self.0.clone(),
            _ => self.0.to_ascii_lowercase(),
        }
    }
}

/// How a [`UrlPattern`] matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UrlModifier {
    /// None: paths that begin so; regular expressions are looked at afterwards.
    Prefix,
    /// `=`: that path.
    Exact,
    /// `^~`: paths that begin so; no regular expression is looked at afterwards.
    PrefixNoRegex,
    /// `~`: paths that the regular expression matches.
    Regex,
    /// `~*`: the same without regard to case.
    RegexNoCase,
}

impl UrlModifier {
    /// Longest first, so that the first that fits is the one.
    const WRITTEN: [(&str, Self); 4] = [
        ("^~", Self::PrefixNoRegex),
        ("~*", Self::RegexNoCase),
        ("~", Self::Regex),
        ("=", Self::Exact),
    ];

    /// Whether a regular expression follows.
    #[must_use]
    pub const fn is_regex(self) -> bool {
        matches!(self, Self::Regex | Self::RegexNoCase)
    }
}

/// The url of a rule, spelled as given; only a first `/` that a plain one lacks is added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UrlPattern(String);

const URL_CHARACTERS: &str = "letters, digits and _ - . & # ? % /";

impl UrlPattern {
    /// Reads a url.
    ///
    /// # Errors
    /// [`BadPattern`] when it has none of the forms.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        check_length(text)?;
        let (modifier, written, expression) = split(text);
        if expression.is_empty() {
            return Err(BadPattern::NoExpression(written));
        }
        if !modifier.is_regex() {
            let skipped = text.chars().count() - expression.chars().count();
            check_characters(expression, URL_CHARACTERS, |character| {
                character.is_ascii_alphanumeric() || "_-.&#?%/".contains(character)
            })
            .map_err(|error| error.moved_by(skipped))?;
        }
        if modifier == UrlModifier::Prefix && !text.starts_with('/') {
            let whole = format!("/{text}");
            check_length(&whole)?;
            return Ok(Self(whole));
        }
        Ok(Self(text.to_owned()))
    }

    /// As given, and as it is answered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two urls that are the same have in common: how many blanks follow the modifier counts
    /// for nothing.
    #[must_use]
    pub fn key(&self) -> String {
        let (_, written, expression) = split(&self.0);
        format!("{written} {expression}")
    }

    /// How it matches.
    #[must_use]
    pub fn modifier(&self) -> UrlModifier {
        split(&self.0).0
    }

    /// What follows the modifier and the blanks after it.
    #[must_use]
    pub fn expression(&self) -> &str {
        split(&self.0).2
    }
}

fn split(text: &str) -> (UrlModifier, &'static str, &str) {
    UrlModifier::WRITTEN
        .iter()
        .find_map(|&(written, modifier)| {
            let rest = text.strip_prefix(written)?;
            Some((modifier, written, rest.trim_start_matches([' ', '\t'])))
        })
        .unwrap_or((UrlModifier::Prefix, "", text))
}

fn check_length(text: &str) -> Result<(), BadPattern> {
    match text.chars().count() {
        0 => Err(BadPattern::Empty),
        1..=PATTERN_CHARS => Ok(()),
        count => Err(BadPattern::TooLong(count)),
    }
}

fn check_characters(
    text: &str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), BadPattern> {
    match (1..)
        .zip(text.chars())
        .find(|&(_, character)| !is_allowed(character))
    {
        None => Ok(()),
        Some((position, character)) => Err(BadPattern::Character {
            character,
            position,
            allowed,
        }),
    }
}

impl BadPattern {
    fn moved_by(self, skipped: usize) -> Self {
        match self {
            Self::Character {
                character,
                position,
                allowed,
            } => Self::Character {
                character,
                position: position + skipped,
                allowed,
            },
            other => other,
        }
    }
}

macro_rules! text_form {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadPattern;
            fn try_from(text: String) -> Result<Self, BadPattern> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(pattern: $name) -> Self {
                pattern.0
            }
        }
    };
}

text_form!(DomainPattern);
text_form!(UrlPattern);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn domains_have_three_forms() {
        for (text, kind) in [
            ("www.example.com", DomainKind::Exact),
            ("localhost", DomainKind::Exact),
            ("10.0.0.1", DomainKind::Exact),
            (".example.com", DomainKind::Suffix),
            ("*.example.com", DomainKind::WildcardStart),
            ("www.example.*", DomainKind::WildcardEnd),
            (r"~^www\d+\.example\.com$", DomainKind::Regex),
        ] {
            assert_eq!(DomainPattern::parse(text).unwrap().kind(), kind, "{text}");
        }
        for (text, wanted) in [
            ("", BadPattern::Empty),
            ("~", BadPattern::NoExpression("~")),
            ("*", BadPattern::Wildcard),
            ("a.*.b", BadPattern::Wildcard),
            ("*.a.*", BadPattern::Wildcard),
            ("*a.b", BadPattern::Wildcard),
            ("a..b", BadPattern::EmptyLabel),
            ("a.", BadPattern::EmptyLabel),
            (".", BadPattern::EmptyLabel),
            ("*.", BadPattern::EmptyLabel),
            ("..a", BadPattern::EmptyLabel),
        ] {
            assert_eq!(DomainPattern::parse(text), Err(wanted), "{text}");
        }
        assert!(matches!(
            DomainPattern::parse("a_b"),
            Err(BadPattern::Character {
                character: '_',
                position: 2,
                ..
            })
        ));
        assert_eq!(
            DomainPattern::parse(&"a".repeat(81)),
            Err(BadPattern::TooLong(81))
        );
    }

    #[test]
    fn plain_domains_are_the_same_in_any_case() {
        let key = |text| DomainPattern::parse(text).unwrap().key();
        assert_eq!(key("WWW.Example.com"), key("www.example.COM"));
        assert_ne!(key("~A"), key("~a"));
    }

    #[test]
    fn urls_are_the_same_with_and_without_blanks() {
        let key = |text| UrlPattern::parse(text).unwrap().key();
        assert_eq!(key("= /a"), key("=/a"));
        assert_eq!(key("a"), key("/a"));
        assert_ne!(key("= /a"), key("/a"));
        assert_ne!(key("~ /a"), key("~* /a"));
        assert_ne!(key("~ *a"), key("~*a"));
        assert_ne!(key("~ a"), key("~ A"));
    }

    #[test]
    fn urls_have_five_forms() {
        for (text, modifier, expression) in [
            ("/", UrlModifier::Prefix, "/"),
            ("= /a", UrlModifier::Exact, "/a"),
            ("=/a", UrlModifier::Exact, "/a"),
            ("^~ /a", UrlModifier::PrefixNoRegex, "/a"),
            (r"~ \.php$", UrlModifier::Regex, r"\.php$"),
            (r"~*\.(gif|jpg)$", UrlModifier::RegexNoCase, r"\.(gif|jpg)$"),
        ] {
            let url = UrlPattern::parse(text).unwrap();
            assert_eq!((url.modifier(), url.expression()), (modifier, expression));
            assert_eq!(url.as_str(), text);
        }
        assert_eq!(UrlPattern::parse("fourth").unwrap().as_str(), "/fourth");
        assert_eq!(UrlPattern::parse("= "), Err(BadPattern::NoExpression("=")));
        assert!(matches!(
            UrlPattern::parse("= /a b"),
            Err(BadPattern::Character {
                character: ' ',
                position: 5,
                ..
            })
        ));
        assert_eq!(
            UrlPattern::parse(&"a".repeat(80)),
            Err(BadPattern::TooLong(81))
        );
    }

    proptest! {
        #[test]
        fn what_was_read_reads_back(text in ".{0,90}") {
            if let Ok(domain) = DomainPattern::parse(&text) {
                prop_assert_eq!(domain.as_str(), text.as_str());
            }
            if let Ok(url) = UrlPattern::parse(&text) {
                let again = UrlPattern::parse(url.as_str());
                prop_assert_eq!(again, Ok(url));
            }
        }
    }
}
