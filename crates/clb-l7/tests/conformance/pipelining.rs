//! The order of pipelined requests.

use anyhow::{Result, ensure};

use crate::harness::*;

const S: &str = "RFC 9112 9.3";
/// Answers what comes to the backend, in order, with the target as the body, until it ends.
pub fn echo_targets(lane: &Lane<'_>, expected: &[&str]) -> Result<()> {
    let mut backend = lane.backend()?;
    for target in expected {
        backend = lane.next_wire(backend)?;
        let request = backend.request()?;
        ensure!(
            request.target == *target,
            "expected {target}, got {}",
            request.target
        );
        let length = target.len();
        backend.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}"
        ))?;
    }
    Ok(())
}

#[test]
fn pipelining() {
    const P: &str = "RFC 9112 9.3.2";
    fn get(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
    }
    let in_order = |name: &'static str, octets: String, expected: Vec<&'static str>| {
        row(
            name,
            P,
            "answers come in the order of the requests",
            move |lane| {
                let mut client = lane.client_sends(&octets)?;
                echo_targets(lane, &expected)?;
                for target in &expected {
                    client.answer("GET")?.status(200)?.body.is(target)?;
                }
                Ok(())
            },
        )
    };
    let stops = |name: &'static str, section: &'static str, why: &'static str, octets: String| {
        row(name, section, why, move |lane| {
            let mut client = lane.client_sends(&octets)?;
            echo_targets(lane, &["/1"])?;
            client.answer("GET")?.status(200)?.body.is("/1")?;
            client.expect_end()?;
            lane.nothing_reached()
        })
    };
    let refused_second = |name: &'static str, second: &'static str| {
        let octets = format!("{}{second}{}", get("/1"), get("/3"));
        row(
            name,
            "RFC 9112 9.3.2, 2.2",
            "the first is answered, the second refused, the third never read",
            move |lane| {
                let mut client = lane.client_sends(&octets)?;
                echo_targets(lane, &["/1"])?;
                client.answer("GET")?.status(200)?.body.is("/1")?;
                is_refused(&mut client, &[400, 501, 505])?;
                lane.nothing_reached()
            },
        )
    };
    run(
        "pipelining",
        vec![
            in_order("two GETs", get("/1") + &get("/2"), vec!["/1", "/2"]),
            in_order("five GETs", ["/1", "/2", "/3", "/4", "/5"].map(get).concat(), vec!["/1", "/2", "/3", "/4", "/5"]),
            in_order("a POST between GETs", get("/1") + "POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello" + &get("/3"), vec!["/1", "/2", "/3"]),
            in_order("a chunked POST between GETs", get("/1") + "POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + &get("/3"), vec!["/1", "/2", "/3"]),
            in_order("chunks with trailers and a GET", "POST /1 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: a\r\n\r\n".to_string() + &get("/2"), vec!["/1", "/2"]),
            in_order("a body that looks like a request and a GET", format!("POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 38\r\n\r\n{}{}", "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n", get("/2")), vec!["/1", "/2"]),
            in_order("an empty line between requests", get("/1") + "\r\n" + &get("/2"), vec!["/1", "/2"]),
            in_order("an empty line behind a POST's body", "POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello\r\n".to_string() + &get("/2"), vec!["/1", "/2"]),
            in_order("a GET with a body and a GET", "GET /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello".to_string() + &get("/2"), vec!["/1", "/2"]),
            row("fifty GETs at once", P, "answers come in the order of the requests", |lane| {
                let targets: Vec<String> = (0..50).map(|number| format!("/{number}")).collect();
                let octets: String = targets.iter().map(|target| get(target)).collect();
                let mut client = lane.client_sends(octets)?;
                echo_targets(lane, &targets.iter().map(String::as_str).collect::<Vec<_>>())?;
                for target in &targets {
                    client.answer("GET")?.status(200)?.body.is(target)?;
                }
                Ok(())
            }),
            row("octet by octet", "RFC 9112 2.1", "a message is not where a segment ends", |lane| {
                let mut client = lane.client()?;
                client.send_each(get("/1") + "POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + &get("/3"))?;
                echo_targets(lane, &["/1", "/2", "/3"])?;
                for target in ["/1", "/2", "/3"] {
                    client.answer("GET")?.status(200)?.body.is(target)?;
                }
                Ok(())
            }),
            stops("a request behind Connection: close", "RFC 9112 9.6", "nothing behind close is processed", format!("GET /1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n{}", get("/2"))),
            stops("a request behind HTTP/1.0", S, "nothing follows on a connection that ends", format!("GET /1 HTTP/1.0\r\nHost: test\r\n\r\n{}", get("/2"))),
            refused_second("a second request without Host", "GET /2 HTTP/1.1\r\n\r\n"),
            refused_second("a second request with length and coding", "POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            refused_second("a second request with a bad length", "POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: +5\r\n\r\nhello"),
            refused_second("a second request of an unknown coding", "POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: cow\r\n\r\nhello"),
            refused_second("garbage as the second request", "garbage\r\n\r\n"),
            refused_second("a second request of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ],
    );
}
