//! How a redirect maps paths.

use crate::pattern::{UrlModifier, UrlPattern};

/// What a redirect between two rules makes of a request's path (semantics.md 6; ADR 20). Paths are
/// as rules see them: decoded, slashes merged, dot segments resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMap {
    /// The path stays: one of the two urls is a regular expression, which has no text to map from
    /// or to, or both are the same.
    Kept,
    /// Every path becomes this one: the target is an exact url.
    Whole(String),
    /// What follows `from` follows `to` instead.
    Prefix {
        /// The source's url.
        from: String,
        /// The target's url.
        to: String,
    },
}

impl PathMap {
    /// The map from the requests of a rule with the one url to a rule with the other.
    #[must_use]
    pub fn of(source: &UrlPattern, target: &UrlPattern) -> Self {
        let (from, to) = (source.expression(), target.expression());
        let no_text = source.modifier().is_regex() || target.modifier().is_regex();
        // Exact urls and those of `^~` need not begin with a slash; such a rule matches no path.
        if no_text || !from.starts_with('/') || !to.starts_with('/') {
            return Self::Kept;
        }
        let is_one_path = |url: &UrlPattern| url.modifier() == UrlModifier::Exact;
        match (is_one_path(source), is_one_path(target)) {
            (true, _) | (_, false) if from == to => Self::Kept,
            (_, true) => Self::Whole(to.to_owned()),
            (_, false) => Self::Prefix {
                from: from.to_owned(),
                to: to.to_owned(),
            },
        }
    }

    /// What comes before the rest of a path, and that rest. `path` is what the source's url has
    /// matched. Between the two stands exactly one slash where either url ends in one, so that
    /// `/a` under `/` becomes `/new/a`, not `/newa`, under `/new`.
    #[must_use]
    pub fn split<'p>(&'p self, path: &'p [u8]) -> (&'p str, &'static str, &'p [u8]) {
        match self {
            Self::Kept => ("", "", path),
            Self::Whole(to) => (to, "", b""),
            Self::Prefix { from, to } => {
                let rest = path.strip_prefix(from.as_bytes()).unwrap_or_default();
                match (to.strip_suffix('/'), rest) {
                    (Some(shorter), [b'/', ..]) => (shorter, "", rest),
                    (None, [first, ..]) if from.ends_with('/') && *first != b'/' => (to, "/", rest),
                    // What began a longer name would be resolved against the target.
                    (Some(_), _) if is_dots(rest) => (to, "", b""),
                    _ => (to, "", rest),
                }
            }
        }
    }
}

/// Whether a path without a slash before it begins with a dot segment.
fn is_dots(rest: &[u8]) -> bool {
    let segment = rest.split(|&octet| octet == b'/').next();
    matches!(segment, Some(b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(source: &str, target: &str) -> PathMap {
        let url = |text| UrlPattern::parse(text).unwrap();
        PathMap::of(&url(source), &url(target))
    }

    fn mapped(map: &PathMap, path: &str) -> String {
        let (to, slash, rest) = map.split(path.as_bytes());
        format!("{to}{slash}{}", std::str::from_utf8(rest).unwrap())
    }

    #[test]
    fn paths_are_mapped_by_prefix() {
        for (source, target, path, wanted) in [
            ("/", "/", "/a/b", "/a/b"),
            ("/", "/new", "/", "/new"),
            ("/", "/new", "/a/b", "/new/a/b"),
            ("/", "/new/", "/", "/new/"),
            ("/", "/new/", "/a", "/new/a"),
            ("/old", "/", "/old", "/"),
            ("/old", "/", "/old/a", "/a"),
            ("/old", "/", "/older", "/er"),
            ("/old", "/new", "/old", "/new"),
            ("/old", "/new", "/old/a", "/new/a"),
            ("/old", "/new", "/older", "/newer"),
            ("/old", "/new/", "/old", "/new/"),
            ("/old", "/new/", "/old/", "/new/"),
            ("/old", "/new/", "/old/a", "/new/a"),
            ("/old", "/new/", "/older", "/new/er"),
            ("/old", "/new/", "/old../a", "/new/"),
            ("/old", "/new/", "/old..a", "/new/..a"),
            ("/old", "/new", "/old../a", "/new../a"),
            ("/old/", "/new", "/old/", "/new"),
            ("/old/", "/new", "/old/a", "/new/a"),
            ("^~ /old/", "/new", "/old/a", "/new/a"),
            ("= /old", "/new", "/old", "/new"),
            ("= /old", "= /new", "/old", "/new"),
            ("/old", "= /new", "/old/a", "/new"),
            ("/a", "= /a", "/a/b", "/a"),
            ("= /a", "/a", "/a", "/a"),
            ("~ ^/o", "/new", "/old/a", "/old/a"),
            ("/old", "~* ^/n", "/old/a", "/old/a"),
            ("/old", "^~ new", "/old/a", "/old/a"),
        ] {
            assert_eq!(
                mapped(&map(source, target), path),
                wanted,
                "{source} {target} {path}"
            );
        }
    }

    #[test]
    fn what_keeps_the_path_says_so() {
        for (source, target) in [("/a", "/a"), ("^~ /a", "/a"), ("= /a", "/a"), ("~ a", "/a")] {
            assert_eq!(map(source, target), PathMap::Kept, "{source} {target}");
        }
        assert_ne!(map("/a", "= /a"), PathMap::Kept);
    }

    proptest! {
        #[test]
        fn the_result_is_under_the_target(
            from in "/[a-c/]{0,4}", to in "/[a-c/]{0,4}", rest in "[a-c/]{0,6}",
        ) {
            let map = map(&from, &to);
            let path = format!("{from}{rest}");
            let mapped = mapped(&map, &path);
            prop_assert!(mapped.starts_with(to.trim_end_matches('/')), "{mapped}");
            prop_assert!(mapped.starts_with('/'), "{mapped}");
            prop_assert!(mapped.ends_with(rest.trim_start_matches('/')), "{mapped}");
        }
    }
}
