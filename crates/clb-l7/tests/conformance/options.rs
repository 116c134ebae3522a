//! What `[http]` switches.

use anyhow::ensure;

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn via() {
    const S: &str = "RFC 9110 7.6.3";
    const WHY: &str = "a gateway with Via on adds its own to what others added, both ways";
    let settings = Settings {
        via: true,
        ..Settings::default()
    };
    let request = |name: &'static str, octets: &'static str, expected: &'static str| {
        passed_once(name, S, WHY, octets, move |request| {
            let all = request.fields.all("via").join(", ");
            ensure!(all == expected, "Via is {all:?}");
            Ok(())
        })
        .own()
    };
    let answer = |name: &'static str, octets: &'static str, expected: &'static str| {
        answered(name, S, WHY, GET, octets, Then::Keep, move |answer| {
            let all = answer.fields.all("via").join(", ");
            ensure!(all == expected, "Via is {all:?}");
            answer.body.is("ok")
        })
        .own()
    };
    run_with(
        "Via",
        settings,
        vec![
            request("Via of a request", GET, "1.1 clbd"),
            request(
                "Via of a request of HTTP/1.0 names the version received",
                "GET / HTTP/1.0\r\nHost: test\r\n\r\n",
                "1.0 clbd",
            ),
            request(
                "Via of a request that has one",
                "GET / HTTP/1.1\r\nHost: test\r\nVia: 1.0 first\r\nX: y\r\nVia: 1.1 second\r\n\r\n",
                "1.0 first, 1.1 second, 1.1 clbd",
            ),
            answer("Via of an answer", OK, "1.1 clbd"),
            answer(
                "Via of an answer of HTTP/1.0 names the version received",
                "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
                "1.0 clbd",
            ),
            answer(
                "Via of an answer that has one",
                "HTTP/1.1 200 OK\r\nVia: 1.1 origin\r\nContent-Length: 2\r\n\r\nok",
                "1.1 origin, 1.1 clbd",
            ),
        ],
    );
}

#[test]
fn no_backend_status() {
    let settings = Settings {
        no_backend_status: 200,
        ..Settings::default()
    };
    run_with(
        "no_backend_status",
        settings,
        vec![
            row(
                "no backend, answered with 200",
                "semantics 6",
                "[http] no_backend_status = 200",
                |lane| {
                    let answer = lane.client_sends(GET)?.answer("GET")?;
                    answer.status(200)?.fields.is("server", "clbd")
                },
            )
            .pool(&[]),
        ],
    );
}
