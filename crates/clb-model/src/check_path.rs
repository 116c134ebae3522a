//! The path that an HTTP health check asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest path of a health check, in characters (`httpCheckPath` of a classic listener; that of a
/// rule is shorter and has fewer characters, which the API's table says).
pub const CHECK_PATH_CHARS: usize = 255;

/// Why a text is no path of a health check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckPath {
    /// No `/` at the start.
    #[error("must begin with \"/\"")]
    NoSlash,
    /// More than [`CHECK_PATH_CHARS`].
    #[error("must have 1 to {CHECK_PATH_CHARS} characters, and has {0}")]
    TooLong(usize),
    /// A character that could end the request line or is not ASCII.
    #[error(
        "has {character:?} at character {position}; allowed are the visible characters of ASCII"
    )]
    Character {
        /// Which one.
        character: char,
        /// Where, counted from 1.
        position: usize,
    },
}

/// `httpCheckPath`: `/` and up to 254 more visible ASCII characters, spelled as given. No blank and
/// no control character can be in it, so it fits into a request line as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckPath(String);

impl CheckPath {
    /// Reads a path.
    ///
    /// # Errors
    /// [`BadCheckPath`] when it has another form.
    pub fn parse(text: &str) -> Result<Self, BadCheckPath> {
        if !text.starts_with('/') {
            return Err(BadCheckPath::NoSlash);
        }
        let count = text.chars().count();
        if count > CHECK_PATH_CHARS {
            return Err(BadCheckPath::TooLong(count));
        }
        let bad = (1..)
            .zip(text.chars())
            .find(|(_, character)| !character.is_ascii_graphic());
        match bad {
            None => Ok(Self(text.to_owned())),
            Some((position, character)) => Err(BadCheckPath::Character {
                character,
                position,
            }),
        }
    }

    /// As given, and as it is answered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is asked for: the part before a `#`. A fragment is never sent (RFC 9110, section
    /// 7.1: the target URI excludes it), and servers refuse a request line that has one.
    #[must_use]
    pub fn request_target(&self) -> &str {
        self.0
            .split_once('#')
            .map_or(self.as_str(), |(target, _)| target)
    }
}

impl Default for CheckPath {
    /// `/`, the path of a check that is made without one.
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl fmt::Display for CheckPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CheckPath {
    type Error = BadCheckPath;
    fn try_from(text: String) -> Result<Self, BadCheckPath> {
        Self::parse(&text)
    }
}

impl From<CheckPath> for String {
    fn from(path: CheckPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        for text in ["/", "/health?full=1&x=%20", "/a#b", "/\"<>|~!"] {
            assert_eq!(CheckPath::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(CheckPath::parse(""), Err(BadCheckPath::NoSlash));
        assert_eq!(CheckPath::parse("health"), Err(BadCheckPath::NoSlash));
        let longest = format!("/{}", "a".repeat(254));
        assert!(CheckPath::parse(&longest).is_ok());
        assert_eq!(
            CheckPath::parse(&(longest + "a")),
            Err(BadCheckPath::TooLong(256))
        );
        for (text, character, position) in [
            ("/a b", ' ', 3),
            ("/\r\nHost: x", '\r', 2),
            ("/é", 'é', 2),
            ("/\u{7f}", '\u{7f}', 2),
        ] {
            assert_eq!(
                CheckPath::parse(text),
                Err(BadCheckPath::Character {
                    character,
                    position
                })
            );
        }
        assert_eq!(CheckPath::default(), CheckPath::parse("/").unwrap());
    }

    #[test]
    fn a_fragment_is_not_asked_for() {
        for (text, target) in [("/a?b#c#d", "/a?b"), ("/#", "/"), ("/a", "/a")] {
            assert_eq!(CheckPath::parse(text).unwrap().request_target(), target);
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_the_api_says(text in "/?[ -\u{80}]{0,8}|/[!-~]{250,258}") {
            let wanted = text.starts_with('/')
                && text.len() <= 255
                && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
            prop_assert_eq!(CheckPath::parse(&text).is_ok(), wanted);
        }
    }
}
