//! Random configurations and requests that have a good chance to meet.

use std::collections::HashSet;

use clb_model::{DomainKind, DomainPattern, UrlModifier, UrlPattern};
use clb_routing::{check_domain, check_url};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt};

/// A rule; its place in the configuration is its order.
pub struct Rule {
    pub domain: DomainPattern,
    pub url: UrlPattern,
}

/// How a request names its host.
pub enum Host {
    /// HTTP/1.1 with this `Host`.
    Field(Vec<u8>),
    /// An absolute-form target with this authority, and another `Host`.
    Target(Vec<u8>),
    /// HTTP/1.0 with no `Host`.
    None,
}

/// A request.
pub struct Request {
    pub host: Host,
    pub target: Vec<u8>,
}

const LABELS: [&str; 8] = ["a", "b", "ab", "www", "WWW", "x-1", "com", "9"];
const PARTS: [&str; 22] = [
    "/", "a", "b", "A", "ab", ".", "..", "-", "_", "1", "23", "/a", "/b/", "img", ".php", ".PHP",
    ".jpg", "%", "#", "?", "&", "%41",
];

/// Expressions whose like users write, and some that only PCRE has.
const URL_EXPRESSIONS: [&str; 34] = [
    r"\.php$",
    r"\.(gif|jpe?g|png)$",
    "^/a",
    "^/(a|b)/",
    "^/$",
    "/$",
    r"^/(\w+)/\1$",
    r"^/(?<first>\w+)/\k<first>",
    r"^/(?P<x>a+)b(?P=x)",
    "(?!.*b)a",
    "^/(?!img)",
    r"(?<!a)\.php",
    r"(?<=/)img",
    r"^/\d+$",
    r"^/[[:alpha:]]+/",
    r"^(?:/[^/]+){2,3}$",
    "a(?#comment)b",
    r"\Qa.b\E",
    "(?i)IMG",
    "im(?i:G)",
    "^/a++b",
    "^/(?>a|ab)b",
    "^/(?|(a)1|(b)2)\\1",
    r"\x61\x2f",
    r"[\w-]+\.jpg",
    r"[^a-z/.]",
    "[]a]b",
    r"^/(a(?1)?b)",
    r"\bimg\b",
    r"%$",
    "#",
    r"^/.{3}$",
    "^/a*?$",
    "A",
];
const DOMAIN_EXPRESSIONS: [&str; 20] = [
    r"^www\.",
    r"\.com$",
    r"^(a|b)\.\1",
    r"^(?<sub>\w+)\.(?<dom>.+)$",
    r"(?<!a)\.b$",
    "^[ab.]+$",
    r"^\D+$",
    "WWW",
    "^a",
    r"^\[",
    r"(?=.*www).*com",
    r"^[^.]+$",
    r"^x-\d\.",
    r"^(?!www)",
    r"^ab?$",
    "a|b",
    r"^\d+$",
    "(?i)COM",
    r"^.+\.ab\.",
    r"\.a\.",
];

fn pick(random: &mut StdRng, from: &[&'static str]) -> &'static str {
    from.choose(random).copied().unwrap()
}

fn join(random: &mut StdRng, most: usize, separator: &str, from: &[&'static str]) -> String {
    let count = random.random_range(1..=most);
    let parts: Vec<&str> = (0..count).map(|_| pick(random, from)).collect();
    parts.join(separator)
}

/// An expression over few letters. `star` says whether a repeat without end may still come: two of
/// them, one in the other, would take more steps than there is time for.
fn expression(random: &mut StdRng, depth: usize, star: bool) -> String {
    let mut out = String::new();
    for _ in 0..random.random_range(1..=3) {
        let (atom, simple) = atom(random, depth, star);
        out.push_str(&atom);
        let quantifier = match random.random_range(0..10) {
            0 if star && simple => "*",
            1 if star && simple => "+",
            2 => "?",
            3 => "{1,2}",
            4 if simple => "{2}?",
            5 if simple => "{1}+",
            _ => "",
        };
        if !atom.starts_with('^')
            && !atom.starts_with('$')
            && !atom.starts_with("(?<")
            && atom != r"\b"
        {
            out.push_str(quantifier);
        }
    }
    if depth > 0 && random.random_ratio(1, 4) {
        out = format!("{out}|{}", expression(random, depth - 1, star));
    }
    out
}

fn atom(random: &mut StdRng, depth: usize, star: bool) -> (String, bool) {
    const SIMPLE: [&str; 26] = [
        "a", "b", "A", "B", "1", "/", "-", r"\.", ".", r"\d", r"\w", r"\W", r"\s", r"\D", "[ab]",
        "[^a]", "[a-c1-3]", "[^/]", r"[\w.]", "[A-C]", r"[^\d]", r"\x41", r"\/", "_", "g", "i",
    ];
    if depth == 0 || random.random_ratio(2, 3) {
        return match random.random_range(0..12) {
            0 => ("^".to_owned(), false),
            1 => ("$".to_owned(), false),
            2 => (r"\b".to_owned(), false),
            _ => (pick(random, &SIMPLE).to_owned(), true),
        };
    }
    let open = pick(
        random,
        &["(", "(?:", "(?=", "(?!", "(?>", "(?|", "(?i:", "BACK"],
    );
    if open == "BACK" {
        let inner = expression(random, depth - 1, false);
        return (format!(r"(?:({inner})\1)"), false);
    }
    let inner = expression(random, depth - 1, star && !open.contains('='));
    (format!("{open}{inner})"), false)
}

fn domain(random: &mut StdRng) -> String {
    let name = join(random, 3, ".", &LABELS);
    match random.random_range(0..10) {
        0..=2 => name,
        3 | 4 => format!("*.{name}"),
        5 => format!(".{name}"),
        6 => format!("{name}.*"),
        7 | 8 => format!("~{}", pick(random, &DOMAIN_EXPRESSIONS)),
        _ => format!("~{}", expression(random, 2, true)),
    }
}

fn url(random: &mut StdRng) -> String {
    let plain = format!("/{}", join(random, 4, "", &PARTS));
    let modifier = pick(random, &["~ ", "~* "]);
    match random.random_range(0..20) {
        0 => "/".to_owned(),
        1..=7 => plain,
        8..=10 => format!("= {plain}"),
        11..=13 => format!("^~ {plain}"),
        14..=17 => format!("{modifier}{}", pick(random, &URL_EXPRESSIONS)),
        _ => format!("{modifier}{}", expression(random, 3, true)),
    }
}

/// What nginx takes two domains or urls for, where it has no room for both (ADR 11): nginx ignores
/// the later such domain and does not load such urls.
fn meanings(domain: &DomainPattern) -> Vec<String> {
    let key = domain.key();
    match domain.kind() {
        DomainKind::Exact | DomainKind::WildcardStart => vec![key],
        DomainKind::Suffix => vec![key[1..].to_owned(), format!("*{key}")],
        DomainKind::WildcardEnd | DomainKind::Regex => vec![key],
    }
}

fn meaning(url: &UrlPattern) -> String {
    match url.modifier() {
        UrlModifier::Prefix | UrlModifier::PrefixNoRegex => format!("prefix {}", url.expression()),
        UrlModifier::Exact => format!("exact {}", url.expression()),
        UrlModifier::Regex | UrlModifier::RegexNoCase => url.as_str().to_owned(),
    }
}

/// Rules of a listener that nginx loads.
pub fn rules(random: &mut StdRng) -> Vec<Rule> {
    let mut taken = HashSet::new();
    let mut rules = Vec::new();
    for _ in 0..random.random_range(1..=12) {
        let Ok(domain) = DomainPattern::parse(&domain(random)) else {
            continue;
        };
        let meanings = meanings(&domain);
        if check_domain(&domain).is_err() || meanings.iter().any(|meaning| taken.contains(meaning))
        {
            continue;
        }
        taken.extend(meanings);
        let mut urls = HashSet::new();
        for _ in 0..random.random_range(1..=14) {
            let Ok(url) = UrlPattern::parse(&url(random)) else {
                continue;
            };
            if check_url(&url).is_ok() && urls.insert(meaning(&url)) {
                let domain = domain.clone();
                rules.push(Rule { domain, url });
            }
        }
    }
    rules.shuffle(random);
    rules
}

/// A request that is likely to meet one of the rules.
pub fn request(random: &mut StdRng, rules: &[Rule]) -> Request {
    let rule = rules.choose(random);
    let name = match rule {
        Some(rule) if random.random_ratio(3, 4) => near(random, &rule.domain),
        _ => join(random, 4, ".", &LABELS),
    };
    let host = decorate(random, name);
    let target = match rule {
        Some(rule) if random.random_ratio(3, 4) => Some(rule.url.clone()),
        _ => None,
    };
    let mut target = target_near(random, target.as_ref());
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let host = match random.random_range(0..20) {
        0 => Host::None,
        // nginx allows nothing else in an authority; what clbd does there is its parser's matter.
        1 | 2 if !host.is_empty() && host.iter().all(plain) => {
            if random.random_ratio(1, 6) {
                target = [b"".as_slice(), b"?a=/../b"]
                    .choose(random)
                    .unwrap()
                    .to_vec();
            } else if !target.starts_with(b"/") {
                // It would belong to the authority.
                target.insert(0, b'/');
            }
            Host::Target(host)
        }
        _ => Host::Field(host),
    };
    Request { host, target }
}

fn near(random: &mut StdRng, domain: &DomainPattern) -> String {
    let some = join(random, 2, ".", &LABELS);
    let text = domain.as_str();
    match domain.kind() {
        DomainKind::Exact => text.to_owned(),
        DomainKind::Suffix if random.random() => text[1..].to_owned(),
        DomainKind::Suffix => format!("{some}{text}"),
        DomainKind::WildcardStart if random.random_ratio(1, 8) => text[1..].to_owned(),
        DomainKind::WildcardStart => format!("{some}{}", &text[1..]),
        DomainKind::WildcardEnd => format!("{}{some}", &text[..text.len() - 1]),
        DomainKind::Regex => join(random, 4, ".", &LABELS),
    }
}

fn decorate(random: &mut StdRng, name: String) -> Vec<u8> {
    let mut host = match random.random_range(0..24) {
        0 => format!("{name}:8080"),
        1 => format!("{name}."),
        2 => format!("{name}.:80"),
        3 => format!("{name}:"),
        4 => name.to_ascii_uppercase(),
        5 => format!(".{name}"),
        6 => pick(
            random,
            &[
                "[::1]",
                "[::1]:80",
                "[a]b",
                "[fe80::A.",
                "a..b",
                "..",
                ".",
                ":80",
                "a/b",
                "a b",
                "a\tb",
                "",
                "a_b",
                "a:b:c",
                "a:1.2..",
                "a\u{7f}",
                "\u{e9}.com",
                "*.com",
                "a:.",
                "[",
                "[]",
                "a]:1",
                "~a",
                "a\"b",
                "a%41",
            ],
        )
        .to_owned(),
        _ => name,
    }
    .into_bytes();
    if random.random_ratio(1, 60) && !host.is_empty() {
        let at = random.random_range(0..host.len());
        host[at] = byte(random);
    }
    // Blanks around a field's value are not part of it.
    host.trim_ascii_start().trim_ascii_end().to_vec()
}

/// A byte that does not end a line.
fn byte(random: &mut StdRng) -> u8 {
    match random.next_u32().to_le_bytes()[0] {
        b'\r' | b'\n' => b'z',
        byte => byte,
    }
}

fn target_near(random: &mut StdRng, url: Option<&UrlPattern>) -> Vec<u8> {
    let some = join(random, 6, "", &PARTS);
    let path = match url {
        Some(url) if !url.modifier().is_regex() => {
            // What stands in a url is compared with what was decoded: so it is sent encoded.
            let text = url.expression();
            let text = text
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            match random.random_range(0..4) {
                0 | 1 => text,
                2 => format!("{text}{some}"),
                _ => format!("{text}/{some}"),
            }
        }
        _ => format!("/{some}"),
    };
    let mut out = Vec::new();
    for byte in path.bytes() {
        match random.random_range(0..40) {
            0 => out.extend(format!("%{byte:02x}").bytes()),
            1 if byte == b'/' => out.extend(b"//"),
            2 if byte == b'/' => out.extend(b"/./"),
            3 if byte == b'/' => out.extend(b"/x/../"),
            4 if byte == b'/' => out.extend(b"%2F"),
            5 => out.push(byte.to_ascii_uppercase()),
            _ => out.push(byte),
        }
    }
    match random.random_range(0..30) {
        0 => out.extend(b"?a=b/../%zz"),
        1 => out.extend(b"#fragment?x"),
        2 => out.extend(b"/.."),
        3 => out.extend(b"/%2e%2E/"),
        4 => out.extend(b"/."),
        5 => out.extend(
            [
                b"%0a".as_slice(),
                b"%00",
                b"%",
                b"%4",
                b"%zz",
                b"%7F",
                b"\xe9",
            ]
            .choose(random)
            .unwrap()
            .iter(),
        ),
        6 if random.random_ratio(1, 3) => {
            let at = random.random_range(0..out.len());
            out[at] = byte(random);
        }
        7 => out = [b"/..".as_slice(), &out].concat(),
        _ => {}
    }
    // A blank would end the target.
    out.retain(|&byte| byte != b' ');
    out
}
