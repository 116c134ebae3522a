//! What a match and a change cost: `cargo run --release -p clb-routing --example cost`.
//!
//! Best of several rounds on one thread. "path" is the usual request, 60 to 70 octets long.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "an example that prints a table"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clb_model::{DomainPattern, UrlPattern};
use clb_routing::{Router, Scratch};

type Value = Arc<str>;

const ROUNDS: u32 = 7;
const PATH: &[u8] = b"/assets/v2/themes/default/images/header/logo-large.png?x=12345678";

fn router(rules: impl IntoIterator<Item = (String, String)>) -> Router<Value> {
    let mut router = Router::new();
    for (order, (domain, url)) in (0..).zip(rules) {
        router = add(&router, &domain, &url, order);
    }
    router
}

fn add(router: &Router<Value>, domain: &str, url: &str, order: u64) -> Router<Value> {
    let (domain, url) = patterns(domain, url);
    let added = router.with(&domain, &url, order, Arc::from("value"));
    added.expect("patterns of this program compile")
}

fn patterns(domain: &str, url: &str) -> (DomainPattern, UrlPattern) {
    let domain = DomainPattern::parse(domain).expect("a domain");
    (domain, UrlPattern::parse(url).expect("a url"))
}

/// Best average of `count` calls.
fn best(count: u32, mut call: impl FnMut(u32)) -> Duration {
    let round = |_| {
        let start = Instant::now();
        (0..count).for_each(&mut call);
        start.elapsed() / count
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

fn show(name: &str, what: &str, time: Duration) {
    println!(
        "{name:<34} {what:<34} {:>10.3} µs",
        time.as_secs_f64() * 1e6
    );
}

fn matches(name: &str, router: &Router<Value>, hosts: &[String], target: &[u8]) {
    let mut scratch = Scratch::new();
    let mut hosts = hosts.iter().cycle();
    let time = best(100_000, |_| {
        let host = hosts.next().map_or("", String::as_str);
        let routed = router.route(host.as_bytes(), target, &mut scratch);
        black_box(routed.is_ok());
    });
    show(name, "match", time);
}

/// One rule more, one rule changed, one rule less, the old router being dropped each time.
fn changes(name: &str, router: &Router<Value>, domain: &str, url: &str, there: (&str, &str, u64)) {
    let count = 200;
    let time = best(count, |_| {
        black_box(add(router, domain, url, u64::MAX));
    });
    show(name, "one rule more", time);
    let time = best(count, |_| {
        black_box(add(router, there.0, there.1, there.2));
    });
    show(name, "one rule's value changed", time);
    let (domain, url) = patterns(there.0, there.1);
    let time = best(count, |_| {
        black_box(router.without(&domain, &url));
    });
    show(name, "one rule less", time);
}

fn host(number: usize) -> String {
    format!("www{number}.example.com")
}

fn main() {
    let hosts: Vec<String> = (0..1000).map(host).collect();
    let one = vec![host(1)];
    println!("{:<34} {:<34} {:>13}", "rules", "what", "time");

    let single = router([(host(1), "/".to_owned())]);
    matches("1", &single, &one, PATH);
    matches("1", &single, &one, b"/a/./b/%41//c");

    let urls = |domain: String| {
        (0..10).map(move |at| {
            let url = if at == 0 {
                "/".to_owned()
            } else {
                format!("/assets/v{at}/")
            };
            (domain.clone(), url)
        })
    };
    for domains in [1_000, 10_000] {
        let name = format!("{} ({domains} x 10)", domains * 10);
        let many = router((0..domains).map(host).flat_map(urls));
        let hosts: Vec<String> = (0..domains).map(host).collect();
        matches(&name, &many, &hosts, PATH);
        let there = ("www500.example.com", "/assets/v2/", 5002);
        changes(&name, &many, "www500.example.com", "/new", there);
        changes(&name, &many, "new.example.com", "/", there);
    }

    let stars = router((0..1000).map(|at| format!("*.{}", host(at))).flat_map(urls));
    let under: Vec<String> = hosts.iter().map(|host| format!("a.b.{host}")).collect();
    matches("10000 (1000 wildcards x 10)", &stars, &under, PATH);
    let there = ("*.www500.example.com", "/assets/v2/", 5002);
    changes(
        "10000 (1000 wildcards x 10)",
        &stars,
        "*.www500.example.com",
        "/new",
        there,
    );

    let flat = router((0..10_000).map(|at| (host(1), format!("/assets/v{}/{at}", at % 100))));
    matches("10000 (1 x 10000)", &flat, &one, b"/assets/v50/7950?x");
    let there = ("www1.example.com", "/assets/v50/7950", 7950);
    changes(
        "10000 (1 x 10000)",
        &flat,
        "www1.example.com",
        "/assets/v50/x",
        there,
    );

    for count in [1_u32, 4, 10, 100, 1000] {
        let name = format!("{count} regex urls");
        let regexes = router((0..count).map(|at| {
            let url = format!(r"~* ^/(img|static){at}/.*\.(gif|jpe?g|png)$");
            (host(1), url)
        }));
        matches(&format!("{name}, none fits"), &regexes, &one, PATH);
        let last = format!("/img{}/themes/default/header/logo-large.png?x", count - 1);
        matches(
            &format!("{name}, the last fits"),
            &regexes,
            &one,
            last.as_bytes(),
        );
        let there = (
            "www1.example.com",
            &*format!(r"~* ^/(img|static){}/.*\.(gif|jpe?g|png)$", count / 2),
            u64::from(count / 2),
        );
        changes(
            &name,
            &regexes,
            "www1.example.com",
            r"~ ^/new/.*\.php$",
            there,
        );
    }

    let domains = router((0..1000).map(|at| (format!(r"~^www{at}\.(a|b)\.com$"), "/".to_owned())));
    matches(
        "1000 regex domains, the last",
        &domains,
        &["www999.a.com".to_owned()],
        PATH,
    );
    matches(
        "1000 regex domains, none",
        &domains,
        &["www1.c.com".to_owned()],
        PATH,
    );
    let there = (r"~^www500\.(a|b)\.com$", "/", 500);
    changes(
        "1000 regex domains",
        &domains,
        r"~^new\.(a|b)\.com$",
        "/",
        there,
    );
    changes(
        "1000 regex domains, url more",
        &domains,
        r"~^www500\.(a|b)\.com$",
        "/new",
        there,
    );
}
