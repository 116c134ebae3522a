//! Rules that are redirected, asked over HTTP/2.

use clb_model::Protocol;
use clb_snapshot::GATEWAY_STATUSES;
use http::StatusCode;

use super::answers::{ask, backend, begin, body, request, text, with_served};
use super::harness::tls::NAME;
use super::harness::{RuleOf, Settings};
use super::table::Bench;

const RULES: &[RuleOf] = &[
    RuleOf {
        domain: NAME,
        url: "/old",
        redirect: Some((Protocol::Https, 8443, "/new")),
    },
    RuleOf {
        domain: NAME,
        url: "/",
        redirect: None,
    },
];

#[test]
fn a_redirected_rule_answers_302() {
    let bench = Bench::start(&Settings::default());
    let hello = backend(|head, _| {
        assert!(head.starts_with("GET /served "), "{head}");
        Some(text("hello", ""))
    });
    let served = bench.listen_with_rules(&[hello], RULES);
    with_served(&bench, &served, async |mut client| {
        let get = request("GET", "/old/a%2Fb?c=d").body(()).unwrap();
        let answer = ask(&mut client, get).await;
        assert_eq!(answer.status(), StatusCode::FOUND);
        let to = format!("https://{NAME}:8443/new/a%2Fb?c=d");
        assert_eq!(answer.headers()["location"], to);
        assert_eq!(answer.headers()["server"], "clbd");
        let shown = body(answer.into_body()).await;
        assert!(shown.starts_with(b"302 Found\n"), "{shown:?}");

        let head = ask(&mut client, request("HEAD", "/old").body(()).unwrap()).await;
        assert_eq!(
            head.headers()["location"],
            format!("https://{NAME}:8443/new")
        );
        assert!(body(head.into_body()).await.is_empty());

        // The body is still on its way: it is not waited for.
        let post = request("POST", "/old").body(()).unwrap();
        let (answer, mut sending) = begin(&mut client, post).await;
        sending.send_data("abc".into(), false).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::FOUND);

        let beside = ask(&mut client, request("GET", "/served").body(()).unwrap()).await;
        assert_eq!(body(beside.into_body()).await, b"hello");
    });
    let totals = served.totals(NAME, "/old");
    let found = GATEWAY_STATUSES.iter().zip(totals.gateway);
    let found: Vec<_> = found.filter(|(_, count)| *count > 0).collect();
    assert_eq!(found, [(&302, 3)]);
}
