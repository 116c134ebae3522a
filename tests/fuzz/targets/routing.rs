//! Routing: any rules, any request. No panic, and the answer is the plain reference's.
//!
//! Input is lines: `+domain<tab>url` adds a rule, `-domain<tab>url` takes it away, and
//! `?host<tab>target` is a host and a target; each of the hosts is asked for each of the targets.
#![no_main]

#[path = "../../../crates/clb-routing/tests/reference/mod.rs"]
mod reference;

use clb_model::{DomainPattern, UrlPattern};
use clb_routing::{Router, Scratch};
use libfuzzer_sys::fuzz_target;
use reference::{Answer, Rule};

/// More rules and requests than this make a run slow and find nothing new.
const RULES: usize = 100;
const REQUESTS: usize = 8;

fn pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    Some((&line[..tab], &line[tab + 1..]))
}

fn patterns(line: &[u8]) -> Option<(DomainPattern, UrlPattern)> {
    let (domain, url) = pair(line)?;
    let domain = DomainPattern::parse(std::str::from_utf8(domain).ok()?).ok()?;
    let url = UrlPattern::parse(std::str::from_utf8(url).ok()?).ok()?;
    Some((domain, url))
}

fuzz_target!(|data: &[u8]| {
    let mut router: Router<u64> = Router::new();
    let mut rules: Vec<Rule> = Vec::new();
    let (mut hosts, mut targets) = (Vec::new(), Vec::new());
    for (order, line) in (0..).zip(data.split(|&byte| byte == b'\n')) {
        match line.split_first() {
            Some((b'+', line)) if rules.len() < RULES => {
                let Some((domain, url)) = patterns(line) else {
                    continue;
                };
                let rule = Rule::new(domain.clone(), url.clone(), order);
                let added = router.with(&domain, &url, order, order);
                if let (Some(rule), Ok(added)) = (rule, added) {
                    router = added;
                    rules.retain(|rule| rule.domain.key() != domain.key() || rule.url != url);
                    rules.push(rule);
                }
            }
            Some((b'-', line)) => {
                let Some((domain, url)) = patterns(line) else {
                    continue;
                };
                router = router.without(&domain, &url);
                rules.retain(|rule| rule.domain.key() != domain.key() || rule.url != url);
            }
            Some((b'?', line)) if hosts.len() < REQUESTS => {
                if let Some((host, target)) = pair(line) {
                    hosts.push(host);
                    targets.push(target);
                }
            }
            _ => {}
        }
    }
    assert_eq!(
        (router.len(), router.iter().count()),
        (rules.len(), rules.len())
    );

    let mut scratch = Scratch::new();
    let requests = hosts
        .iter()
        .flat_map(|host| targets.iter().map(move |target| (*host, *target)));
    for (host, target) in requests {
        let route = router.route(host, target, &mut scratch);
        let explained = router.explain(host, target).rule;
        let names = route
            .as_ref()
            .map(|route| (route.domain.clone(), route.url().clone()));
        assert_eq!(explained.as_ref(), names.as_ref().map_err(|&error| error));
        let ours = Answer::of(route.map(|route| *route.value));
        let wanted = reference::route(&rules, host, target);
        // What the prefilter has ruled out takes no steps.
        if wanted != Answer::TooManySteps {
            assert_eq!(ours, wanted);
        }
    }
});
