use super::*;
use proptest::prelude::*;

fn probe(mask: i64) -> HttpProbe {
    HttpProbe::new(
        HttpMethod::Get,
        CheckPath::default(),
        None,
        HttpCodeMask::try_from(mask).unwrap(),
    )
}

fn judge(mask: i64, answer: &[u8]) -> Option<Result<(), String>> {
    let judged = probe(mask).judge(answer)?;
    Some(judged.map_err(|failure| failure.to_string()))
}

fn failed(said: &str) -> Option<Result<(), String>> {
    Some(Err(said.to_owned()))
}

#[test]
fn requests() {
    let target = |text: &str| text.parse().unwrap();
    let request = |path: &str, domain: Option<&str>, address: &str| {
        let domain = domain.map(|domain| DomainPattern::parse(domain).unwrap());
        HttpProbe::new(
            HttpMethod::Head,
            CheckPath::parse(path).unwrap(),
            domain.as_ref(),
            HttpCodeMask::DEFAULT,
        )
        .request(target(address))
    };
    assert_eq!(
        probe(1).request(target("192.0.2.1:8080")),
        "GET / HTTP/1.1\r\nHost: 192.0.2.1:8080\r\nUser-Agent: clbd-health\r\n\
         Connection: close\r\n\r\n"
    );
    assert!(
        request("/a?b#c", None, "192.0.2.1:80")
            .starts_with("HEAD /a?b HTTP/1.1\r\nHost: 192.0.2.1\r\n")
    );
    let named = probe(1).with_host(&CheckDomain::parse("Up.example.com:81").unwrap());
    let request_named = named.request(target("192.0.2.1:8080"));
    assert!(request_named.contains("\r\nHost: Up.example.com:81\r\n"));
    for (domain, address, host) in [
        (Some("WWW.example.com"), "192.0.2.1:81", "www.example.com"),
        (Some("*.example.com"), "192.0.2.1:81", "192.0.2.1:81"),
        (Some(".example.com"), "192.0.2.1:81", "192.0.2.1:81"),
        (Some("~^a$"), "[2001:db8::1]:81", "[2001:db8::1]:81"),
        (None, "[2001:db8::1]:80", "[2001:db8::1]"),
    ] {
        let request = request("/", domain, address);
        assert!(
            request.contains(&format!("\r\nHost: {host}\r\n")),
            "{request}"
        );
    }
}

#[test]
fn the_mask_decides() {
    for status in 100u16..=999 {
        // 1xx: 101 ends the exchange, so no other interim answer is meant here.
        if matches!(status, 100 | 102..=199) {
            continue;
        }
        let answer = format!("HTTP/1.1 {status} Some Reason\r\nX: y\r\n\r\nbody");
        for mask in 1..=31 {
            let is_good = status < 600 && mask >> (status / 100 - 1) & 1 == 1;
            let wanted = match is_good {
                true => Some(Ok(())),
                false => failed(&format!("status {status}")),
            };
            assert_eq!(judge(mask, answer.as_bytes()), wanted, "{status} by {mask}");
        }
    }
}

#[test]
fn forms_of_a_status_line() {
    for line in [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 200 \r\n",
        "HTTP/1.1 200\r\n",
        "HTTP/1.1 200\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200 \t caf\u{e9} 200\r\n",
    ] {
        assert_eq!(judge(2, line.as_bytes()), Some(Ok(())), "{line:?}");
        for end in 0..line.len() - 1 {
            assert_eq!(judge(2, &line.as_bytes()[..end]), None, "{line:?} to {end}");
        }
    }
    for (answer, begins) in [
        (&b"HTTP/2.0 200 OK\r\n"[..], "HTTP/2.0 200 OK"),
        (b"HTTP/1.1  200 OK\r\n", "HTTP/1.1  200 OK"),
        (b"HTTP/1.1 099 Low\r\n", "HTTP/1.1 099 Low"),
        (b"HTTP/1.1 20 OK\r\n", "HTTP/1.1 20 OK"),
        (b"HTTP/1.1 2000 OK\r\n", "HTTP/1.1 2000 OK"),
        (b"HTTP/1.1 200OK\r\n", "HTTP/1.1 200OK"),
        (b"HTTP/1.1 200 a\rb\r\n", "HTTP/1.1 200 a\\rb"),
        (b"http/1.1 200 OK\r\n", "http/1.1 200 OK"),
        (b"\r\nHTTP/1.1 200 OK\r\n", "\\r\\nHTTP/1.1 200 OK"),
        (b"ICY 200 OK\r\n", "ICY 200 OK"),
        (b"SSH-2.0-OpenSSH_9.9 and so on", "SSH-2.0-OpenSSH_9.9 and"),
        // A TLS alert; nothing more will come.
        (
            b"\x15\x03\x01\0\x02\x02\x46",
            "\\x15\\x03\\x01\\x00\\x02\\x02F",
        ),
        (b"<html>", "<html>"),
    ] {
        let wanted = format!("not HTTP: the answer begins with \"{begins}\"");
        assert_eq!(judge(31, answer), failed(&wanted));
    }
    assert_eq!(judge(31, b""), None);
}

#[test]
fn an_interim_answer_decides_only_by_its_own_bit() {
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let answer = [
        &hints[..],
        b"HTTP/1.1 100 Continue\n\n",
        b"HTTP/1.1 204 Done\r\n",
    ]
    .concat();
    assert_eq!(judge(2, &answer), Some(Ok(())));
    assert_eq!(judge(4, &answer), failed("status 204"));
    for end in 0..answer.len() {
        assert_eq!(judge(4, &answer[..end]), None);
    }
    assert_eq!(judge(1, &hints[..26]), Some(Ok(())), "at once");
    // After 101 no further answer comes.
    let switched = b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert_eq!(judge(2, switched), failed("status 101"));
    assert_eq!(judge(1, switched), Some(Ok(())));
    let bad = [&hints[..], b"nonsense"].concat();
    let wanted = "not HTTP: the answer begins with \"nonsense\"";
    assert_eq!(judge(2, &bad), failed(wanted));
}

#[test]
fn what_has_no_end_is_given_up() {
    let mut endless = b"HTTP/1.1 200 ".to_vec();
    endless.resize(ANSWER_OCTETS, b'a');
    let wanted = "no status line within 16384 octets";
    assert_eq!(judge(2, &endless), failed(wanted));
    assert_eq!(judge(2, &endless[..ANSWER_OCTETS - 1]), None);
    let mut interim = b"HTTP/1.1 100 Continue\r\nX: ".to_vec();
    interim.resize(ANSWER_OCTETS, b'a');
    assert_eq!(judge(2, &interim), failed(wanted));
}

proptest! {
    #[test]
    fn more_octets_never_change_a_judgement(
        answer in "(HTTP/1\\.[01x] [1-6][0-9]{2,3}[ \r\n]?[a-z\t\u{1}]{0,3}(\r\n|\n){0,3}){0,3}.{0,5}",
        mask in 1i64..=31,
    ) {
        let probe = probe(mask);
        let mut judged = None;
        for end in 0..=answer.len() {
            let now = probe.judge(&answer.as_bytes()[..end]).map(|judged| judged.is_ok());
            prop_assert!(judged.is_none() || judged == now);
            judged = now;
        }
    }

    #[test]
    fn nothing_panics(answer in prop::collection::vec(any::<u8>(), 0..60), mask in 1i64..=31) {
        let _ = probe(mask).judge(&answer);
    }
}
