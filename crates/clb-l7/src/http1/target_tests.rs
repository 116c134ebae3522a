use super::*;

fn authority(text: &str) -> Option<(&str, &str)> {
    let authority = read_authority(text.as_bytes())?;
    let text = |octets| std::str::from_utf8(octets).unwrap();
    Some((text(authority.host), text(authority.text)))
}

#[test]
fn hosts() {
    // RFC 9110, 7.2: Host = uri-host [ ":" port ]
    for (text, host, kept) in [
        ("a", "a", "a"),
        ("www.Example.com", "www.Example.com", "www.Example.com"),
        ("a.b.", "a.b.", "a.b."),
        ("a:80", "a", "a:80"),
        ("a:0", "a", "a:0"),
        ("a:65535", "a", "a:65535"),
        ("a:00080", "a", "a:00080"),
        ("a:", "a", "a"),
        ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1:8080"),
        ("[::1]", "[::1]", "[::1]"),
        ("[::1]:80", "[::1]", "[::1]:80"),
        ("[::ffff:1.2.3.4]:", "[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
        ("a_b-c~d.example", "a_b-c~d.example", "a_b-c~d.example"),
        ("a!$&'()*+;=b", "a!$&'()*+;=b", "a!$&'()*+;=b"),
    ] {
        assert_eq!(authority(text), Some((host, kept)), "{text}");
    }
    for bad in [
        "",
        ":",
        ":80",
        ".",
        "..",
        "a..b",
        ".:80",
        "a b",
        "a,b",
        "a, b",
        "user@a",
        "user:pw@a",
        "@a",
        "a/",
        "a/b",
        "/a",
        "a?b",
        "a#b",
        "a\\b",
        "http://a",
        "a:b",
        "a:8a",
        "a:-1",
        "a:+1",
        "a: 80",
        "a :80",
        "a:65536",
        "a:000080",
        "a:80:80",
        "a:80/",
        "a::80",
        "::1",
        "[::1",
        "::1]",
        "[]",
        "[::1]80",
        "[::1]a",
        "[::1]:x",
        "[1.2.3.4]",
        "[v1.a]",
        "[fe80::1%25eth0]",
        "[::1]]",
        "[[::1]]",
        "a[::1]",
        "a%41",
        "%61",
        "a<b",
        "a\"b",
        "a^b",
        "a|b",
        "a`b",
        "{a}",
        "a\tb",
        "a\0",
        "a\x7f",
        "\u{e9}",
        "xn--\u{e9}",
    ] {
        assert_eq!(authority(bad), None, "{bad:?}");
    }
}

#[test]
fn targets() {
    let a = |text: &'static str| read_authority(text.as_bytes()).unwrap();
    let (http, https) = (Scheme::Http, Scheme::Https);
    let o = |text: &'static str| Ok(Target::Origin(text.as_bytes()));
    let (get, options) = (Method::Get, Method::Options);
    let absolute =
        |scheme, host, rest: &'static str| Ok(Target::Absolute(scheme, a(host), rest.as_bytes()));
    for (method, target, expected) in [
        // 3.2.1 origin-form
        (get, "/", o("/")),
        (
            get,
            "/a/b;c=d/%41%7e?e=f&g=%&h?/",
            o("/a/b;c=d/%41%7e?e=f&g=%&h?/"),
        ),
        (get, "//a/../b", o("//a/../b")),
        (get, "/a:b@c", o("/a:b@c")),
        (get, "/a|b^c[d]", o("/a|b^c[d]")),
        (get, "/?{a}|b\\c`d^[e]%zz", o("/?{a}|b\\c`d^[e]%zz")),
        (get, "/http://b/", o("/http://b/")),
        (options, "/", o("/")),
        // 3.2.2 absolute-form
        (get, "http://a", absolute(http, "a", "")),
        (get, "http://a/", absolute(http, "a", "/")),
        (get, "HTTP://a:80/b?c", absolute(http, "a:80", "/b?c")),
        (get, "http://a?b", absolute(http, "a", "?b")),
        (get, "https://[::1]:443/", absolute(https, "[::1]:443", "/")),
        (options, "http://a", absolute(http, "a", "")),
        // 3.2.4 asterisk-form
        (options, "*", Ok(Target::Asterisk)),
        (get, "*", Err(Refusal::TargetForm)),
        (Method::Other(b"FOO"), "*", Err(Refusal::TargetForm)),
        (options, "**", Err(Refusal::TargetForm)),
        (options, "*/", Err(Refusal::TargetForm)),
        (options, "*?a", Err(Refusal::TargetForm)),
        // 3.2.3 authority-form is for CONNECT only
        (get, "a:80", Err(Refusal::TargetForm)),
        (get, "a", Err(Refusal::TargetForm)),
        (get, "?a", Err(Refusal::TargetForm)),
        (get, "", Err(Refusal::TargetForm)),
        (get, "a/b", Err(Refusal::TargetForm)),
        (get, "http:", Err(Refusal::TargetForm)),
        (get, "http:/a", Err(Refusal::TargetForm)),
        (get, "http:a", Err(Refusal::TargetForm)),
        (get, "mailto:a", Err(Refusal::TargetForm)),
        (get, "://a/", Err(Refusal::TargetForm)),
        (get, "1http://a/", Err(Refusal::TargetForm)),
        (get, "ftp://a/", Err(Refusal::Scheme)),
        (get, "file:///a", Err(Refusal::Scheme)),
        (get, "ws://a/", Err(Refusal::Scheme)),
        (get, "httpx://a/", Err(Refusal::Scheme)),
        (get, "http://", Err(Refusal::TargetAuthority)),
        (get, "http:///a", Err(Refusal::TargetAuthority)),
        (get, "http://?a", Err(Refusal::TargetAuthority)),
        (get, "http://u@a/", Err(Refusal::TargetAuthority)),
        (get, "http://u:p@a/", Err(Refusal::TargetAuthority)),
        (get, "http://a:x/", Err(Refusal::TargetAuthority)),
        (get, "http://a:99999/", Err(Refusal::TargetAuthority)),
        (get, "http://a,b/", Err(Refusal::TargetAuthority)),
        (get, "http://a\\@b/", Err(Refusal::TargetAuthority)),
        // octets: RFC 3986 has neither these nor a fragment in a request-target
        (get, "/a#b", Err(Refusal::TargetOctet)),
        (get, "/#", Err(Refusal::TargetOctet)),
        (get, "/?#", Err(Refusal::TargetOctet)),
        (get, "http://a#b", Err(Refusal::TargetAuthority)),
        (get, "http://a/#b", Err(Refusal::TargetOctet)),
        (get, "#", Err(Refusal::TargetOctet)),
        (get, "*#", Err(Refusal::TargetOctet)),
        (get, "/a b", Err(Refusal::TargetOctet)),
        (get, "/a\tb", Err(Refusal::TargetOctet)),
        (get, "/a?b\tc", Err(Refusal::TargetOctet)),
        (get, "/\x01", Err(Refusal::TargetOctet)),
        (get, "/\x7f", Err(Refusal::TargetOctet)),
        (get, "/\0", Err(Refusal::TargetOctet)),
        (get, "/?\x1b", Err(Refusal::TargetOctet)),
        (get, "/\u{e9}", Err(Refusal::TargetOctet)),
        (get, "/?\u{e9}", Err(Refusal::TargetOctet)),
        (get, "/a\\b", Err(Refusal::TargetOctet)),
        (get, "/<a>", Err(Refusal::TargetOctet)),
        (get, "/\"", Err(Refusal::TargetOctet)),
        (get, "/{a}", Err(Refusal::TargetOctet)),
        (get, "/`", Err(Refusal::TargetOctet)),
        (get, "/?<", Err(Refusal::TargetOctet)),
        (get, "/?\"", Err(Refusal::TargetOctet)),
        // escapes, as nginx
        (get, "/%", Err(Refusal::TargetEscape)),
        (get, "/%4", Err(Refusal::TargetEscape)),
        (get, "/%zz", Err(Refusal::TargetEscape)),
        (get, "/%4g", Err(Refusal::TargetEscape)),
        (get, "/%u0041", Err(Refusal::TargetEscape)),
        (get, "/a%00b", Err(Refusal::TargetEscape)),
    ] {
        let actual = read_target(method, target.as_bytes());
        assert_eq!(actual, expected, "{method:?} {target:?}");
    }
}

#[test]
fn authority_form() {
    for (target, expected) in [
        ("a:443", true),
        ("[::1]:443", true),
        ("a", false),
        ("a:", false),
        ("/", false),
        ("http://a/", false),
        ("u@a:443", false),
        ("", false),
    ] {
        assert_eq!(is_authority_form(target.as_bytes()), expected, "{target}");
    }
}
