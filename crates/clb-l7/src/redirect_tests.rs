use clb_model::{PathMap, Port, Protocol, UrlPattern};
use proptest::prelude::*;

use super::*;

fn redirect(protocol: Protocol, port: u16, source: &str, target: &str) -> Redirect {
    let url = |text| UrlPattern::parse(text).unwrap();
    Redirect {
        protocol,
        port: Port::try_from(i64::from(port)).unwrap(),
        path: PathMap::of(&url(source), &url(target)),
    }
}

fn to(redirect: &Redirect, host: &str, target: &str) -> String {
    let location = location(redirect, host.as_bytes(), target.as_bytes()).unwrap();
    String::from_utf8(location).unwrap()
}

#[test]
fn scheme_host_and_port() {
    for (protocol, port, host, wanted) in [
        (Protocol::Https, 443, "a.com", "https://a.com/x"),
        (Protocol::Https, 8443, "a.com", "https://a.com:8443/x"),
        (Protocol::Https, 80, "a.com", "https://a.com:80/x"),
        (Protocol::Http, 80, "a.com", "http://a.com/x"),
        (Protocol::Http, 443, "a.com", "http://a.com:443/x"),
        (Protocol::Http, 8080, "A.com.", "http://A.com.:8080/x"),
        (
            Protocol::Https,
            443,
            "[2001:db8::1]",
            "https://[2001:db8::1]/x",
        ),
        (
            Protocol::Https,
            444,
            "[2001:db8::1]",
            "https://[2001:db8::1]:444/x",
        ),
        (Protocol::Http, 81, "192.0.2.1", "http://192.0.2.1:81/x"),
    ] {
        let redirect = redirect(protocol, port, "/", "/");
        assert_eq!(to(&redirect, host, "/x"), wanted);
    }
}

#[test]
fn the_path_is_mapped_and_the_query_kept() {
    for (source, target, sent, wanted) in [
        ("/", "/", "/", "/"),
        ("/", "/", "/a/b?c=d&e", "/a/b?c=d&e"),
        ("/", "/", "/?", "/?"),
        ("/", "/", "?a", "/?a"),
        ("/", "/", "", "/"),
        ("/", "/", "*", "/"),
        ("/", "/new", "*", "/new"),
        ("/old", "/new", "/old/a?x=/old", "/new/a?x=/old"),
        ("/old", "/", "/old/a", "/a"),
        ("/old/", "/new", "/old/a", "/new/a"),
        ("/old", "= /new", "/old/a?b", "/new?b"),
        ("= /old", "/new/", "/old?b", "/new/?b"),
        // Escapes are kept as they were sent, also of a slash.
        ("/old", "/new", "/old/a%2fb%20c%25", "/new/a%2fb%20c%25"),
        ("/old", "/new", "/%6Fld/a%2Fb", "/new/a%2Fb"),
        ("/old", "/new", "/old%3Fa?b", "/new%3Fa?b"),
        ("/", "/", "/%E4%BD%A0", "/%E4%BD%A0"),
        // Resolved before the rest, and in it.
        ("/old", "/new", "//old/a%2Fb", "/new/a%2Fb"),
        ("/old", "/new", "/x/../old/./a", "/new/a"),
        ("/old", "/new", "/old/x/%2e%2e/a", "/new/a"),
        ("/old", "/new", "/old/a//b%20c", "/new/a/b%20c"),
        ("/old", "/new", "/old/a/b/..", "/new/a/"),
        // An escaped slash can not stand for the one after the host.
        ("/old", "/", "/old%2Fa", "/a"),
        ("/old", "/", "/old%2f%2Fevil.example", "/evil.example"),
        // Urls of rules are texts: what has a meaning in a URI is escaped.
        ("/", "/a?b#c%d&e", "/x", "/a%3Fb%23c%25d&e/x"),
        ("/a%b", "/new", "/a%25b/c", "/new/c"),
        // Nothing to map: as it was sent.
        ("~ ^/o", "/new", "/old//a/../%41?q", "/old//a/../%41?q"),
        ("/old", "~* x", "/old/a%2Fb", "/old/a%2Fb"),
    ] {
        let redirect = redirect(Protocol::Http, 80, source, target);
        let wanted = format!("http://a.com{wanted}");
        assert_eq!(
            to(&redirect, "a.com", sent),
            wanted,
            "{source} {target} {sent}"
        );
    }
}

#[test]
fn what_a_uri_does_not_have_is_escaped() {
    let redirect = redirect(Protocol::Http, 80, "~ .", "/");
    for (sent, wanted) in [
        ("/a|b^c[d]", "/a%7Cb%5Ec%5Bd%5D"),
        ("/a?{b}\\`|^", "/a?%7Bb%7D%5C%60%7C%5E"),
        ("/a?b%zz%4", "/a?b%25zz%254"),
        ("/a?b?c/d", "/a?b?c/d"),
        ("/a?\"<>", "/a?%22%3C%3E"),
    ] {
        assert_eq!(
            to(&redirect, "a.com", sent),
            format!("http://a.com{wanted}")
        );
    }
}

#[test]
fn what_routing_refuses_has_no_location() {
    let redirect = redirect(Protocol::Http, 80, "/", "/");
    for target in ["/%", "/%00", "/..", "a", "/a b"] {
        assert!(
            location(&redirect, b"a", target.as_bytes()).is_err(),
            "{target}"
        );
    }
}

proptest! {
    /// Whatever is sent: one field line, a URI of the target's listener, under the target's url.
    #[test]
    fn nothing_gets_out_of_its_place(
        from in "(= |\\^~ )?/[a-c/.%]{0,4}",
        to_url in "(= |\\^~ )?/[a-c/%?#]{0,4}",
        rest in prop_oneof!["[a-c/.]{0,8}", "([a-c/.?]|%2[EFef]|%0[aAdD]|%25){0,8}"],
        query in "(\\?[ -~]{0,6})?",
        extra in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let redirect = redirect(Protocol::Https, 8443, &from, &to_url);
        let source = UrlPattern::parse(&from).unwrap();
        let mut sent = Vec::new();
        push_path(source.expression().as_bytes(), &mut sent);
        sent.extend_from_slice(rest.as_bytes());
        sent.extend_from_slice(query.as_bytes());
        sent.extend_from_slice(&extra);
        let Ok(found) = location(&redirect, b"a.com", &sent) else {
            return Ok(());
        };
        let text = String::from_utf8(found).unwrap();
        let path = text.strip_prefix("https://a.com:8443").unwrap();
        prop_assert!(path.starts_with('/'), "{text}");
        let allowed = |octet: u8| is_path_octet(octet) || octet == b'?' || octet == b'%';
        prop_assert!(path.bytes().all(allowed), "{text}");
        // The target's rule is what the client's next request meets.
        let end = path.find('?').unwrap_or(path.len());
        let mut buffer = Vec::new();
        let resolved = clb_routing::resolve_path(&path.as_bytes()[..end], &mut buffer).unwrap();
        let matched = {
            let mut buffer = Vec::new();
            let end = sent.iter().position(|&octet| octet == b'?').unwrap_or(sent.len());
            clb_routing::resolve_path(&sent[..end], &mut buffer)
                .unwrap()
                .starts_with(source.expression().as_bytes())
        };
        let target = UrlPattern::parse(&to_url).unwrap();
        let mut plain = Vec::new();
        let url = encoded(target.expression());
        let url = clb_routing::resolve_path(&url, &mut plain);
        if let (true, PathMap::Prefix { .. }, Ok(url)) = (matched, &redirect.path, url) {
            let url = url.strip_suffix(b"/").unwrap_or(url);
            prop_assert!(resolved.starts_with(url), "{from} {to_url} {text}");
        }
    }
}

fn encoded(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_path(path.as_bytes(), &mut out);
    out
}
