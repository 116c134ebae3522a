//! Routing written down as plainly as can be: every rule is looked at for every request. Shared by
//! the property test, the test against nginx and the fuzz target.

use std::cmp::Reverse;

use clb_model::{DomainKind, DomainPattern, UrlModifier, UrlPattern};
use clb_routing::{MATCH_LIMIT, RouteError};
use pcre2::bytes::{Regex, RegexBuilder};

/// A rule and its expressions.
pub struct Rule {
    pub domain: DomainPattern,
    pub url: UrlPattern,
    pub order: u64,
    domain_regex: Option<Regex>,
    url_regex: Option<Regex>,
}

/// What a request meets.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The rule of this order.
    Rule(u64),
    /// 400
    Refused,
    /// 404
    NoDomain,
    /// 404
    NoLocation,
    /// 500
    TooManySteps,
}

impl Answer {
    /// What the router's answer is here.
    #[allow(dead_code, reason = "the test against nginx does not use it")]
    pub fn of(routed: Result<u64, RouteError>) -> Self {
        match routed {
            Ok(order) => Self::Rule(order),
            Err(RouteError::BadHost(_) | RouteError::BadPath(_)) => Self::Refused,
            Err(RouteError::NoDomain) => Self::NoDomain,
            Err(RouteError::NoLocation) => Self::NoLocation,
            Err(RouteError::MatchLimit(_)) => Self::TooManySteps,
        }
    }
}

fn compile(expression: &str, no_case: bool) -> Option<Regex> {
    RegexBuilder::new()
        .caseless(no_case)
        .jit_if_available(true)
        .build(&format!("(*LIMIT_MATCH={MATCH_LIMIT}){expression}"))
        .ok()
}

impl Rule {
    /// `None` when an expression does not compile.
    pub fn new(domain: DomainPattern, url: UrlPattern, order: u64) -> Option<Self> {
        let domain_regex = match domain.regex() {
            Some(text) => Some(compile(
                text,
                text.contains(|c: char| c.is_ascii_uppercase()),
            )?),
            None => None,
        };
        let url_regex = match url.modifier() {
            UrlModifier::Regex => Some(compile(url.expression(), false)?),
            UrlModifier::RegexNoCase => Some(compile(url.expression(), true)?),
            _ => None,
        };
        Some(Self {
            domain,
            url,
            order,
            domain_regex,
            url_regex,
        })
    }

    fn place(&self) -> (u64, &str) {
        (self.order, self.url.as_str())
    }
}

/// Name of a host, or `None` when it is to be refused.
fn host_name(raw: &str) -> Option<String> {
    let refused = |c: char| c <= ' ' || c == '\u{7f}' || c == '/';
    if raw.contains("..") || raw.contains(refused) {
        return None;
    }
    let mut name = match raw.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => &raw[..end + 2],
        None if raw.starts_with('[') => raw,
        None => raw.split(':').next().unwrap(),
    };
    name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        if path[at] == b'%' {
            let digits = std::str::from_utf8(path.get(at + 1..at + 3)?).ok()?;
            if !digits.chars().all(|c| c.is_ascii_hexdigit()) || digits == "00" {
                return None;
            }
            out.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            out.push(path[at]);
            at += 1;
        }
    }
    Some(out)
}

/// Path of a target, or `None` when it is to be refused.
fn path(target: &[u8]) -> Option<Vec<u8>> {
    if target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return None;
    }
    if target.is_empty() || target[0] == b'?' {
        return Some(b"/".to_vec());
    }
    if target[0] != b'/' {
        return None;
    }
    let path = target
        .split(|&byte| byte == b'?' || byte == b'#')
        .next()
        .unwrap();
    let decoded = decode(path)?;
    let segments: Vec<&[u8]> = decoded.split(|&byte| byte == b'/').collect();
    let mut kept = Vec::new();
    for segment in &segments {
        match *segment {
            b"" | b"." => {}
            b".." => {
                kept.pop()?;
            }
            segment => kept.push(segment),
        }
    }
    let open = matches!(**segments.last().unwrap(), [] | [b'.'] | [b'.', b'.']);
    let mut out = Vec::new();
    for segment in &kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if open || kept.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

/// What a request meets among these rules. `host` is text because a reference may be slow to
/// write and not slow to read; bytes that are no UTF-8 are the fuzz target's matter.
pub fn route(rules: &[Rule], host: &[u8], target: &[u8]) -> Answer {
    let Some(path) = path(target) else {
        return Answer::Refused;
    };
    if host.is_empty() {
        return Answer::NoDomain;
    }
    // Each byte as a character of its own, so that no byte is lost.
    let host: String = host.iter().map(|&byte| char::from(byte)).collect();
    let Some(host) = host_name(&host) else {
        return Answer::Refused;
    };
    let host_bytes: Vec<u8> = host.chars().map(|c| c as u8).collect();

    // The best domain that is no regular expression: exact, then `*.x`, then `x.*`.
    let age = |rule: &Rule| {
        let same = rules.iter().filter(|r| r.domain.key() == rule.domain.key());
        same.map(|r| r.order).min().unwrap()
    };
    let rank = |rule: &Rule| {
        let key = rule.domain.key();
        let (class, length) = match rule.domain.kind() {
            DomainKind::Exact if key == host => (0, 0),
            DomainKind::Suffix if key[1..] == host => (1, host.len()),
            DomainKind::Suffix if host.ends_with(&key) => (1, key.len() - 1),
            DomainKind::WildcardStart if host.ends_with(&key[1..]) => (1, key.len() - 2),
            DomainKind::WildcardEnd if host.starts_with(&key[..key.len() - 1]) => {
                (2, key.len() - 2)
            }
            _ => return None,
        };
        Some((class, Reverse(length), age(rule), key))
    };
    let plain = rules.iter().filter_map(rank).min().map(|best| best.3);
    let key = match plain {
        Some(key) => key,
        None => {
            let mut regexes: Vec<&Rule> =
                rules.iter().filter(|r| r.domain_regex.is_some()).collect();
            regexes.sort_by_key(|rule| (age(rule), rule.domain.key()));
            let mut found = None;
            for rule in regexes {
                match rule.domain_regex.as_ref().unwrap().is_match(&host_bytes) {
                    Ok(false) => {}
                    Ok(true) => {
                        found = Some(rule.domain.key());
                        break;
                    }
                    Err(_) => return Answer::TooManySteps,
                }
            }
            match found {
                Some(key) => key,
                None => return Answer::NoDomain,
            }
        }
    };

    let mut rules: Vec<&Rule> = rules.iter().filter(|r| r.domain.key() == key).collect();
    rules.sort_by_key(|rule| rule.place());
    let text = |rule: &Rule| rule.url.expression().as_bytes().to_vec();
    if let Some(rule) = rules
        .iter()
        .find(|r| r.url.modifier() == UrlModifier::Exact && text(r) == path)
    {
        return Answer::Rule(rule.order);
    }
    let prefix = rules
        .iter()
        .filter(|rule| {
            let kind = rule.url.modifier();
            matches!(kind, UrlModifier::Prefix | UrlModifier::PrefixNoRegex)
                && path.starts_with(&text(rule))
        })
        .min_by_key(|rule| Reverse(text(rule).len()));
    if prefix.is_none_or(|rule| rule.url.modifier() == UrlModifier::Prefix) {
        for rule in &rules {
            match rule.url_regex.as_ref().map(|regex| regex.is_match(&path)) {
                None | Some(Ok(false)) => {}
                Some(Ok(true)) => return Answer::Rule(rule.order),
                Some(Err(_)) => return Answer::TooManySteps,
            }
        }
    }
    match prefix {
        Some(rule) => Answer::Rule(rule.order),
        None => Answer::NoLocation,
    }
}
