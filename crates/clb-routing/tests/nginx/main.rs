//! The router against the real nginx: random rules, random requests, the same answers.
//!
//! `CLB_ROUTING_CASES` says how many requests (4000 unless said), `CLB_ROUTING_SEED` repeats a run.
//! What differs on purpose is in ADR 10 and 11, and is not generated here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a helper that fails is a test that fails"
)]

mod generate;
mod server;

use std::collections::HashMap;

use clb_model::DomainPattern;
use clb_routing::{RouteError, Router, Scratch};
use generate::{Host, Request, Rule};
use rand::SeedableRng;
use rand::rngs::StdRng;
use server::{Answer, Nginx};

/// Requests to one set of rules.
const PER_SET: usize = 400;

fn cases() -> usize {
    match std::env::var("CLB_ROUTING_CASES") {
        Ok(count) => count.parse().expect("CLB_ROUTING_CASES is a number"),
        Err(_) => 4000,
    }
}

#[test]
fn as_nginx_with_a_fixed_seed() {
    compare(20_261_125, cases());
}

#[test]
fn as_nginx_with_a_fresh_seed() {
    let seed = match std::env::var("CLB_ROUTING_SEED") {
        Ok(seed) => seed.parse().expect("CLB_ROUTING_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("CLB_ROUTING_SEED={seed}");
    compare(seed, cases());
}

/// Rules in both forms.
struct Set {
    rules: Vec<Rule>,
    router: Router<usize>,
}

impl Set {
    fn new(random: &mut StdRng) -> Self {
        let rules = generate::rules(random);
        let mut router = Router::new();
        for (order, rule) in rules.iter().enumerate() {
            let added = router.with(&rule.domain, &rule.url, order as u64, order);
            router = added.unwrap();
        }
        Self { rules, router }
    }

    /// Whether the router's answer is nginx's.
    fn agrees(&self, ours: &Result<(usize, DomainPattern), RouteError>, nginx: &Answer) -> bool {
        match ours {
            Ok((order, domain)) => {
                let block = self
                    .rules
                    .iter()
                    .position(|rule| rule.domain.key() == domain.key());
                nginx.status == 200 && nginx.rule == Some(*order) && nginx.domain == block
            }
            Err(RouteError::NoDomain) => nginx.status == 404 && nginx.domain.is_none(),
            Err(RouteError::NoLocation) => nginx.status == 404 && nginx.domain.is_some(),
            Err(error) => nginx.status == error.status(),
        }
    }
}

/// What a caller of the router does with a request.
fn route(
    set: &Set,
    request: &Request,
    scratch: &mut Scratch,
) -> Result<(usize, DomainPattern), RouteError> {
    let host = match &request.host {
        // The caller's part, see `Router::route`.
        Host::Field(host) if host.is_empty() => {
            return Err(RouteError::BadHost(clb_routing::HostFault::Empty));
        }
        Host::Field(host) | Host::Target(host) => host.as_slice(),
        Host::None => b"",
    };
    let origin_form = !matches!(request.host, Host::Target(_));
    if origin_form && !request.target.starts_with(b"/") {
        // The caller's part, too: what begins with "?" has a path in absolute-form only.
        return Err(RouteError::BadPath(clb_routing::PathFault::NotAbsolute));
    }
    let route = set.router.route(host, &request.target, scratch)?;
    Ok((*route.value, route.domain.clone()))
}

fn head(request: &Request) -> Vec<u8> {
    let target = request.target.as_slice();
    match &request.host {
        Host::Field(host) => [b"GET ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat(),
        Host::Target(host) => [
            b"GET http://",
            host.as_slice(),
            target,
            b" HTTP/1.1\r\nHost: other\r\n\r\n",
        ]
        .concat(),
        Host::None => [
            b"GET ",
            target,
            b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ]
        .concat(),
    }
}

fn compare(seed: u64, cases: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let sets: Vec<Set> = (0..cases.div_ceil(PER_SET))
        .map(|_| Set::new(&mut random))
        .collect();
    let (sets, rules): (Vec<Router<usize>>, Vec<Vec<Rule>>) =
        sets.into_iter().map(|set| (set.router, set.rules)).unzip();
    let nginx = Nginx::start(&rules);
    let sets: Vec<Set> = (sets.into_iter().zip(rules))
        .map(|(router, rules)| Set { rules, router })
        .collect();

    let mut scratch = Scratch::new();
    let mut kinds: HashMap<String, usize> = HashMap::new();
    let mut differences = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        let requests: Vec<Request> = (0..PER_SET)
            .map(|_| generate::request(&mut random, &set.rules))
            .collect();
        let mut kept = Vec::new();
        for request in &requests {
            let ours = route(set, request, &mut scratch);
            *kinds.entry(kind(set, &ours)).or_default() += 1;
            if matches!(&ours, Err(error) if error.status() == 400) {
                // nginx closes after these, so each has a connection of its own.
                let answers = nginx.connect(at).ask(&[head(request)]);
                check(set, request, &ours, answers.first(), &mut differences);
            } else {
                kept.push((request, ours));
            }
        }
        let heads: Vec<Vec<u8>> = kept.iter().map(|(request, _)| head(request)).collect();
        let mut answers: Vec<Answer> = Vec::new();
        while answers.len() < heads.len() {
            let more = nginx.connect(at).ask(&heads[answers.len()..]);
            assert!(
                !more.is_empty(),
                "no answer to {:?}",
                kept[answers.len()].0.target
            );
            answers.extend(more);
        }
        for ((request, ours), answer) in kept.iter().zip(&answers) {
            check(set, request, ours, Some(answer), &mut differences);
        }
    }
    println!("{cases} cases of seed {seed}: {kinds:?}");
    let count = differences.len();
    differences.truncate(10);
    assert!(
        differences.is_empty(),
        "{count} differences with CLB_ROUTING_SEED={seed}:\n{}",
        differences.join("\n")
    );
    // The requests are worth something only when they meet every case.
    let kinds_wanted = [
        "Exact",
        "Prefix",
        "PrefixNoRegex",
        "Regex",
        "RegexNoCase",
        "BadHost",
        "BadPath",
        "NoDomain",
        "NoLocation",
    ];
    for wanted in kinds_wanted {
        let met = kinds.get(wanted).copied().unwrap_or_default();
        assert!(
            met * 200 >= cases,
            "only {met} of {cases} cases were {wanted}"
        );
    }
}

fn kind(set: &Set, ours: &Result<(usize, DomainPattern), RouteError>) -> String {
    match ours {
        Ok((order, _)) => format!("{:?}", set.rules[*order].url.modifier()),
        Err(error) => {
            let name = format!("{error:?}");
            name.split('(').next().unwrap().to_owned()
        }
    }
}

fn check(
    set: &Set,
    request: &Request,
    ours: &Result<(usize, DomainPattern), RouteError>,
    answer: Option<&Answer>,
    differences: &mut Vec<String>,
) {
    if answer.is_some_and(|answer| set.agrees(ours, answer)) {
        return;
    }
    let rules: Vec<String> = (set.rules.iter().enumerate())
        .map(|(order, rule)| format!("    {order}: {} {}", rule.domain, rule.url))
        .collect();
    differences.push(format!(
        "{}\n  ours {ours:?}\n  nginx {answer:?}\n{}",
        String::from_utf8_lossy(&head(request)).trim_end(),
        rules.join("\n")
    ));
}
