//! What a head costs: finding its end, parsing it, writing it for the other side. Prints
//! nanoseconds a head: the least and the median of many rounds. Run with `--release`.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use clb_l7::http1::{
    AnswerAdditions, Fields, HeadLimits, HeadScanner, RequestAdditions, Version, parse_answer,
    parse_request, write_answer, write_request,
};

const REQUEST: &[u8] = b"GET /api/v1/items?page=2&sort=name HTTP/1.1\r\n\
Host: www.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br\r\n\
Connection: keep-alive\r\n\
Cookie: session=0123456789abcdef\r\n\
Cache-Control: max-age=0\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: nginx/1.26.3\r\n\
Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Content-Type: text/plain\r\n\
Content-Length: 256\r\n\
Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Connection: keep-alive\r\n\
ETag: \"0123456789abcdef\"\r\n\
Accept-Ranges: bytes\r\n\r\n";

const LIMITS: HeadLimits = HeadLimits {
    line: 16 * 1024,
    head: 64 * 1024,
    fields: 128,
};

const ROUNDS: usize = 200;
const HEADS: u32 = 5000;

fn main() {
    let additions = RequestAdditions {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17)),
        port: 8080,
        https: false,
        client_certificate: b"",
        request_id: b"0123456789abcdef0123456789abcdef",
        default_host: b"",
        http2: false,
        trace: None,
        via: false,
        session_cookie: Some(b"clb_route"),
    };
    let mut fields = Fields::default();
    let mut out = Vec::with_capacity(4096);

    println!("request of {} octets", REQUEST.len());
    measure("scan", || {
        let length = HeadScanner::default().scan(black_box(REQUEST), &LIMITS);
        black_box(length.is_ok());
    });
    measure("parse", || {
        let request = parse_request(black_box(REQUEST), &mut fields);
        black_box(request.is_ok());
    });
    measure("scan, parse, write", || {
        let length = HeadScanner::default().scan(black_box(REQUEST), &LIMITS);
        black_box(length.is_ok());
        out.clear();
        if let Ok(request) = parse_request(black_box(REQUEST), &mut fields) {
            write_request(&request, &additions, &mut out);
        }
        black_box(out.len());
    });
    let mut places = [httparse::EMPTY_HEADER; 32];
    measure("httparse alone, for comparison", || {
        let mut request = httparse::Request::new(&mut places);
        black_box(request.parse(black_box(REQUEST)).is_ok());
    });

    println!("answer of {} octets", ANSWER.len());
    let Ok(request) = parse_request(REQUEST, &mut fields) else {
        return;
    };
    let to = request.answer_to();
    let mut fields = Fields::default();
    measure("parse", || {
        let answer = parse_answer(black_box(ANSWER), &mut fields, to);
        black_box(answer.is_ok());
    });
    measure("scan, parse, write", || {
        let length = HeadScanner::default().scan(black_box(ANSWER), &LIMITS);
        black_box(length.is_ok());
        out.clear();
        if let Ok(answer) = parse_answer(black_box(ANSWER), &mut fields, to) {
            let additions = AnswerAdditions {
                client: Version::Http11,
                close: false,
                date: b"Sun, 06 Nov 1994 08:49:37 GMT",
                set_cookie: None,
                via: false,
                transfer: answer.transfer(Version::Http11),
            };
            write_answer(&answer, &additions, &mut out);
        }
        black_box(out.len());
    });
}

fn println_row(name: &str, least: f64, median: f64) {
    println!("  {name:32} least {least:7.1} ns, median {median:7.1} ns");
}

fn measure(name: &str, mut work: impl FnMut()) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..HEADS {
                work();
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(HEADS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let at = |index: usize| rounds.get(index).copied().unwrap_or(f64::NAN);
    println_row(name, at(0), at(ROUNDS / 2));
}
