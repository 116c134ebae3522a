//! The router against the plain reference, on small names so that much collides.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a helper that fails is a test that fails"
)]

mod reference;

use clb_model::{DomainPattern, UrlPattern};
use clb_routing::{Router, Scratch, check_domain, check_url};
use proptest::prelude::*;
use reference::{Answer, Rule};

fn label() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "A", "ab", "www"]).prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 1..4).prop_map(|labels| labels.join("."))
}

fn domain() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => name(),
        2 => name().prop_map(|name| format!("*.{name}")),
        1 => name().prop_map(|name| format!(".{name}")),
        1 => name().prop_map(|name| format!("{name}.*")),
        2 => prop::sample::select(vec![
            r"~^a\.", r"~b$", r"~^(a|b)\.\1", r"~(?<!a)\.b", r"~^[a-b.]+$", "~A", r"~\D{3}$", "~(?=.*b)a",
            r"~^(a|aa)+$", "~x*", r"~^\[", "~^[^a]",
        ]).prop_map(str::to_owned),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "/", "a", "b", "A", ".", "..", "/..", "%2e", "%2F", "%41", "%", "%3f", "%23", "#", "?",
        "%00", " ", ".php", "/ab", "\u{e9}",
    ]);
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn url() -> impl Strategy<Value = String> {
    let plain = prop::collection::vec(
        prop::sample::select(vec!["a", "b", "A", "/", "ab", ".", "%"]),
        0..5,
    )
    .prop_map(|parts| format!("/{}", parts.concat()));
    prop_oneof![
        3 => plain.clone(),
        1 => plain.clone().prop_map(|path| format!("= {path}")),
        1 => plain.clone().prop_map(|path| format!("={path}")),
        1 => plain.prop_map(|path| format!("^~ {path}")),
        2 => (
            prop::sample::select(vec!["~ ", "~*", "~"]),
            prop::sample::select(vec![
                r"\.php$", "^/a", "b$", r"^/(\w)\1", "(?!.*b)a", r"[^/]+$", "/a{1,2}b?", "^/[[:upper:]]", "A|b/",
                r"\x61(?i)B", r"^/(?<n>a+)b\k<n>", "a++b", "(?#c)b", r"\Qa.\E",
            ]),
        ).prop_map(|(modifier, expression)| format!("{modifier}{expression}")),
    ]
}

fn host() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "",
        ".",
        ":80",
        "a:80",
        "A.b.",
        "a.b.:1",
        "a.b.:.",
        "www.:.a",
        "[::1]",
        "[a]b",
        "a..b",
        ".a",
        ".a.b",
        "a b",
        "a/b",
        "b.a:x",
        "[a.",
        "www.a.www.b",
    ]);
    prop_oneof![4 => name(), 1 => odd.prop_map(str::to_owned)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_router_agrees_with_the_reference(
        steps in prop::collection::vec((domain(), url(), any::<bool>()), 1..40),
        requests in prop::collection::vec((host(), path()), 30),
    ) {
        let mut router = Router::new();
        let mut rules: Vec<Rule> = Vec::new();
        for (order, (domain, url, keep)) in (0..).zip(&steps) {
            let domain = DomainPattern::parse(domain).unwrap();
            let Ok(url) = UrlPattern::parse(url) else { continue };
            let rule = Rule::new(domain.clone(), url.clone(), order);
            let same = |r: &Rule| r.domain.key() == domain.key() && r.url == url;
            prop_assert_eq!(rule.is_some(), check_domain(&domain).and(check_url(&url)).is_ok());
            let Some(rule) = rule else { continue };
            let before = router.clone();
            router = router.with(&domain, &url, order, order).unwrap();
            prop_assert_eq!(before.len(), rules.len());
            rules.retain(|rule| !same(rule));
            rules.push(rule);
            if !keep {
                // Away goes one somewhere in the middle.
                let at = order as usize * 7 % rules.len();
                let gone = rules.remove(at);
                router = router.without(&gone.domain, &gone.url);
                router = router.without(&gone.domain, &gone.url);
            }
            prop_assert_eq!(router.len(), rules.len());
        }
        let mut orders: Vec<u64> = router.iter().map(|route| route.order()).collect();
        let mut wanted: Vec<u64> = rules.iter().map(|rule| rule.order).collect();
        orders.sort_unstable();
        wanted.sort_unstable();
        prop_assert_eq!(orders, wanted);

        // The same rules in another sequence make the same router.
        let mut other = Router::new();
        for rule in rules.iter().rev() {
            other = other.with(&rule.domain, &rule.url, rule.order, rule.order).unwrap();
        }
        let mut scratch = Scratch::new();
        for (host, path) in &requests {
            for target in [path.clone(), format!("/{path}")] {
                let (host, target) = (host.as_bytes(), target.as_bytes());
                let wanted = reference::route(&rules, host, target);
                for router in [&router, &other] {
                    let routed = router.route(host, target, &mut scratch).map(|route| *route.value);
                    prop_assert_eq!(&Answer::of(routed), &wanted);
                }
            }
        }
        for rule in &rules {
            router = router.without(&rule.domain, &rule.url);
        }
        prop_assert!(router.is_empty() && router.iter().next().is_none());
        let routed = router.route(b"a", b"/", &mut scratch).map(|route| *route.value);
        prop_assert_eq!(Answer::of(routed), Answer::NoDomain);
    }
}
