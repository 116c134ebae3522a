//! Why a request meets its rule and not another.

use std::fmt;

use clb_model::{DomainKind, DomainPattern, UrlModifier, UrlPattern};

use crate::domain::{Domain, lookup_name};
use crate::error::RouteError;
use crate::list::List;
use crate::router::{Router, Scratch};
use crate::{host, path};

/// Patterns that are named one by one for each reason; the rest is counted.
const NAMED: usize = 10;

/// Why a request meets its rule: [`Router::explain`]. As text it is one reason a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Domain and url of the rule, exactly what [`Router::route`] finds.
    pub rule: Result<(DomainPattern, UrlPattern), RouteError>,
    /// How it came to that, in the order of the decisions.
    pub reasons: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Ok((domain, url)) => writeln!(
                f,
                "rule: domain {:?}, url {:?}",
                domain.as_str(),
                url.as_str()
            )?,
            Err(error) => writeln!(f, "no rule: {} ({error})", error.status())?,
        }
        for reason in &self.reasons {
            writeln!(f, "{reason}")?;
        }
        Ok(())
    }
}

impl<T: Clone> Router<T> {
    /// Why this request meets its rule and not another, or why it meets none. Takes what
    /// [`Router::route`] takes; asks every regular expression, so it is not for the hot path.
    #[must_use]
    pub fn explain(&self, host: &[u8], target: &[u8]) -> Explanation {
        let mut reasons = Vec::new();
        let rule = self.explained(host, target, &mut reasons);
        if let Err(
            error @ (RouteError::BadHost(_) | RouteError::BadPath(_) | RouteError::MatchLimit(_)),
        ) = &rule
        {
            reasons.push(error.to_string());
        }
        Explanation { rule, reasons }
    }

    fn explained(
        &self,
        sent_host: &[u8],
        target: &[u8],
        reasons: &mut Vec<String>,
    ) -> Result<(DomainPattern, UrlPattern), RouteError> {
        let mut scratch = Scratch::new();
        let path = path::resolve_path(target, &mut scratch.path)?;
        if sent_host.is_empty() {
            reasons.push("the request names no host".to_owned());
            return Err(RouteError::NoDomain);
        }
        host::normalise(sent_host, &mut scratch.host)?;
        let host = &scratch.host;
        reasons.push(as_sent("host", host, sent_host));
        reasons.push(as_sent("path", path, target));

        let domain = self.find_domain(host, &mut scratch.found, |_| {});
        let plain = self
            .plain_domains(host, |_| {})
            .map(|domain| &domain.pattern);
        let chosen = domain.as_ref().ok().map(|domain| &domain.pattern);
        let mut candidates: Vec<&DomainPattern> = plain.collect();
        let (fit, others) = split(&self.regexes, host);
        candidates.extend(fit.iter().map(|domain| &domain.pattern));
        if let Some(chosen) = chosen {
            reasons.push(format!(
                "domain {:?}: {}",
                chosen.as_str(),
                why_domain(chosen.kind())
            ));
        }
        let beaten = candidates.iter().filter(|&&domain| Some(domain) != chosen);
        let beaten = beaten.map(|domain| match chosen {
            Some(chosen) => format!(
                "domain {:?} fits, too, but {}",
                domain.as_str(),
                why_not_domain(domain, chosen)
            ),
            None => format!(
                "domain {:?} fits, but an older one could not be decided",
                domain.as_str()
            ),
        });
        named(beaten.collect(), "domains that fit", reasons);
        not_matching("domain", others, reasons);
        let domain = domain?;

        let location = domain.find(path, &mut scratch.found);
        let location = location.map(|met| met.location);
        let url = location.as_ref().ok().map(|location| &location.url);
        explain_urls(domain, path, url, reasons);
        let location = location?;
        Ok((domain.pattern.clone(), location.url.clone()))
    }
}

fn explain_urls<T: Clone>(
    domain: &Domain<T>,
    path: &[u8],
    chosen: Option<&UrlPattern>,
    reasons: &mut Vec<String>,
) {
    let mut candidates: Vec<&UrlPattern> = domain
        .plain(path)
        .iter()
        .rev()
        .map(|location| &location.url)
        .collect();
    let (fit, others) = split(&domain.regexes, path);
    candidates.extend(fit.iter().map(|location| &location.url));
    if let Some(chosen) = chosen {
        reasons.push(format!(
            "url {:?}: {}",
            chosen.as_str(),
            why_url(chosen.modifier())
        ));
    }
    let beaten = candidates.iter().filter(|&&url| Some(url) != chosen);
    let beaten = beaten.map(|url| match chosen {
        Some(chosen) => format!(
            "url {:?} fits, too, but {}",
            url.as_str(),
            why_not_url(url, chosen)
        ),
        None => format!(
            "url {:?} fits, but an older one could not be decided",
            url.as_str()
        ),
    });
    named(beaten.collect(), "urls that fit", reasons);
    not_matching("url", others, reasons);
    if chosen.is_none() && candidates.is_empty() {
        reasons.push(format!(
            "none of the {} rules of the domain fits",
            domain.iter().count()
        ));
    }
}

fn as_sent(what: &str, used: &[u8], sent: &[u8]) -> String {
    let used = String::from_utf8_lossy(used);
    let sent = String::from_utf8_lossy(sent);
    match used == sent {
        true => format!("{what} {used:?}"),
        false => format!("{what} {used:?}, sent as {sent:?}"),
    }
}

/// Values of the expressions that match, and texts of those that do not (or cannot be decided).
fn split<'l, V: Clone>(list: &'l List<V>, subject: &[u8]) -> (Vec<&'l V>, Vec<&'l str>) {
    let (mut fit, mut others) = (Vec::new(), Vec::new());
    for entry in list.iter() {
        match entry.matcher.is_match(subject) {
            Ok(true) => fit.push(&entry.value),
            Ok(false) | Err(_) => others.push(entry.matcher.text()),
        }
    }
    (fit, others)
}

fn named(mut lines: Vec<String>, what: &str, reasons: &mut Vec<String>) {
    let more = lines.len().saturating_sub(NAMED);
    lines.truncate(NAMED);
    reasons.append(&mut lines);
    if more > 0 {
        reasons.push(format!("and {more} more {what}"));
    }
}

fn not_matching(what: &str, texts: Vec<&str>, reasons: &mut Vec<String>) {
    let lines = texts
        .iter()
        .map(|text| format!("{what} {text:?} does not match"));
    named(
        lines.collect(),
        &format!("{what}s that do not match"),
        reasons,
    );
}

const fn rank_of_domain(kind: DomainKind) -> u8 {
    match kind {
        DomainKind::Exact => 0,
        DomainKind::Suffix | DomainKind::WildcardStart => 1,
        DomainKind::WildcardEnd => 2,
        DomainKind::Regex => 3,
    }
}

const fn why_domain(chosen: DomainKind) -> &'static str {
    match rank_of_domain(chosen) {
        0 => "it is the host",
        1 => "no domain is the host, and none that the host ends with is longer",
        2 => "no domain is the host or its end, and none that it begins with is longer",
        _ => "no other kind of domain fits, and no older regular expression does",
    }
}

fn why_not_domain(domain: &DomainPattern, chosen: &DomainPattern) -> &'static str {
    let rank = rank_of_domain(chosen.kind());
    let same_rank = rank_of_domain(domain.kind()) == rank;
    match rank {
        0 => "a domain that is the host comes first",
        1 | 2 if same_rank && lookup_name(domain) == lookup_name(chosen) => {
            "it means the same and is younger"
        }
        1 | 2 if same_rank => "it is shorter",
        1 => "a domain that the host ends with comes first",
        2 => "a domain that the host begins with comes first",
        _ => "it is younger",
    }
}

const fn why_url(chosen: UrlModifier) -> &'static str {
    match chosen {
        UrlModifier::Exact => "it is the path",
        UrlModifier::PrefixNoRegex => {
            "it is the longest that the path begins with, and has ^~, so no regular expression is asked"
        }
        UrlModifier::Regex | UrlModifier::RegexNoCase => {
            "it is the oldest regular expression that matches"
        }
        UrlModifier::Prefix => {
            "it is the longest that the path begins with, and no regular expression matches"
        }
    }
}

fn why_not_url(url: &UrlPattern, chosen: &UrlPattern) -> &'static str {
    let regex = url.modifier().is_regex();
    match chosen.modifier() {
        UrlModifier::Exact if url.modifier() == UrlModifier::Exact => {
            "it means the same and is younger"
        }
        UrlModifier::Exact => "a url that is the path comes first",
        UrlModifier::Regex | UrlModifier::RegexNoCase if regex => "it is younger",
        UrlModifier::Regex | UrlModifier::RegexNoCase => "regular expressions come before it",
        UrlModifier::Prefix | UrlModifier::PrefixNoRegex if regex => {
            "the longest url has ^~, so it is not asked"
        }
        UrlModifier::Prefix | UrlModifier::PrefixNoRegex => {
            match url.expression() == chosen.expression() {
                true => "it means the same and is younger",
                false => "it is shorter",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(rules: &[(&str, &str)]) -> Router<u64> {
        (0..)
            .zip(rules)
            .fold(Router::new(), |router, (order, (domain, url))| {
                let domain = DomainPattern::parse(domain).unwrap();
                let url = UrlPattern::parse(url).unwrap();
                router.with(&domain, &url, order, order).unwrap()
            })
    }

    #[test]
    fn it_says_why_and_why_not() {
        let router = router(&[
            ("www.a.com", "/"),
            ("www.a.com", "/img/"),
            ("www.a.com", r"~ \.png$"),
            ("www.a.com", "~* ^/IMG"),
            ("www.a.com", r"~ \.gif$"),
            ("*.a.com", "/"),
            ("~^www", "= /x"),
            ("~^api", "^~ /v1"),
            ("~^api", "~ ^/v1/.*x"),
            ("~^api", "/v"),
        ]);
        let said = |host: &str, target: &str| {
            let explanation = router.explain(host.as_bytes(), target.as_bytes());
            let mut scratch = Scratch::new();
            let route = router.route(host.as_bytes(), target.as_bytes(), &mut scratch);
            let route = route.map(|route| (route.domain.clone(), route.url().clone()));
            assert_eq!(route, explanation.rule);
            explanation.to_string()
        };
        assert_eq!(
            said("WWW.a.com:80", "/img/./a.png?q"),
            r#"rule: domain "www.a.com", url "~ \\.png$"
host "www.a.com", sent as "WWW.a.com:80"
path "/img/a.png", sent as "/img/./a.png?q"
domain "www.a.com": it is the host
domain "*.a.com" fits, too, but a domain that is the host comes first
domain "~^www" fits, too, but a domain that is the host comes first
domain "~^api" does not match
url "~ \\.png$": it is the oldest regular expression that matches
url "/img/" fits, too, but regular expressions come before it
url "/" fits, too, but regular expressions come before it
url "~* ^/IMG" fits, too, but it is younger
url "~ \\.gif$" does not match
"#
        );
        let api = said("api", "/v1/x");
        assert!(api.contains("no other kind of domain fits"), "{api}");
        assert!(
            api.contains("^~, so no regular expression is asked\n"),
            "{api}"
        );
        assert!(
            api.contains("\"/v\" fits, too, but it is shorter\n"),
            "{api}"
        );
        assert!(
            api.contains("x\" fits, too, but the longest url has ^~, so it is not asked"),
            "{api}"
        );
        let none = said("www.b", "/y");
        assert!(none.starts_with("no rule: 404"), "{none}");
        assert!(
            none.ends_with("none of the 1 rules of the domain fits\n"),
            "{none}"
        );
        assert!(said("a..b", "/").starts_with("no rule: 400 (bad host: it has an empty label)"));
        assert!(said("www.a.com", "/%").starts_with("no rule: 400 (bad request target"));
        assert!(said("", "/").ends_with("the request names no host\n"));
        assert!(said("x", "/").starts_with("no rule: 404 (no rule has a domain"));
    }

    #[test]
    fn many_are_counted() {
        let urls: Vec<String> = (0..30).map(|at| format!("~ {at}$")).collect();
        let rules: Vec<(&str, &str)> = urls.iter().map(|url| ("a", url.as_str())).collect();
        let said = router(&rules).explain(b"a", b"/x29").to_string();
        for wanted in [
            "and 18 more urls that do not match",
            "url \"~ 9$\": it is the oldest",
            "url \"~ 29$\" fits, too, but it is younger",
        ] {
            assert!(said.contains(wanted), "{said}");
        }
    }
}
