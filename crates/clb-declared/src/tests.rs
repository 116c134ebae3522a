//! Reading and writing.

use clb_model::Family;

use crate::fields::{Absent, Field, LISTENER, LOAD_BALANCER, RULE};
use crate::{read, write};

const WHOLE: &str = r#"[[load_balancers]]
name = "web"
type = "public"
forward = "application"
vip = "127.10.0.1"
project_id = 7
vpc_id = "vpc-abc"

[[load_balancers.listeners]]
protocol = "https"
load_balancer_port = 443
listener_name = 'a "b" \ é'
ssl_mode = "mutual"
cert_id = "4b9fc92b"
cert_ca_id = "4b9fc92c"

[[load_balancers.listeners.rules]]
domain = '~^www\.(a|b)$'
url = '~* \.png$'
session_expire = 30
health_switch = 0
time_out = 3
interval_time = 9
health_num = 2
unhealth_num = 10
http_hash = "ip_hash"
http_code = 6
http_check_path = "/health?x&1"
http_check_domain = "probe"
http_check_method = "HEAD"
backends = [
  { instance_id = "ins-a", port = 80 },
  { eni_ip = "fd00::1", port = 81, weight = 0 },
]

[[load_balancers.listeners]]
protocol = "http"
load_balancer_port = 80

[[load_balancers.listeners.rules]]
domain = "a"
url = "/"
rewrite_port = 443
rewrite_domain = '~^www\.(a|b)$'
rewrite_url = '~* \.png$'

[[load_balancers.listeners]]
protocol = "tcp"
load_balancer_port = 22
scheduler = "least_conn"
backends = [
  { instance_id = "ins-a", port = 22 },
]

[[load_balancers]]
name = "old"
type = "private"
forward = "classic"
vpc_id = "12"
backends = [
  { instance_id = "10.0.0.1", weight = 1 },
]

[[load_balancers.listeners]]
protocol = "udp"
load_balancer_port = 53
instance_port = 5353
"#;

#[test]
fn what_is_read_is_written_as_it_was() {
    let read = read::parse(WHOLE).unwrap();
    assert_eq!(read[1].family, Family::Classic);
    assert_eq!(write::to_toml(&read), WHOLE);
}

#[test]
fn fingerprints_are_for_ever() {
    // Another one would let the file overrule what the API has made since, after an update of clbd.
    let read = read::parse(WHOLE).unwrap();
    assert_eq!(
        [write::fingerprint(&read[0]), write::fingerprint(&read[1])],
        [
            "1c6c80d2fa5f4ed3cffaf9df86d95de994efe1a95d10740b48dc970c77f53e21",
            "cd8fae474b7d14dc309f90c861b97bdc36253a078a5d38b838af455bd56ccf4d",
        ]
    );
}

#[test]
fn defaults_are_those_of_the_api() {
    for (fields, one) in [
        (LISTENER, "listener"),
        (RULE, "rule"),
        (LOAD_BALANCER, "load balancer"),
    ] {
        for field in fields {
            let kind = field.kind();
            assert!(kind.is_some(), "{one} {}", field.key);
            if let (Absent::Is(value), Some(kind)) = (field.absent, kind) {
                let is_taken = value.parse().is_ok_and(|value| kind.takes_int(value))
                    || kind.takes_text(value);
                assert!(is_taken, "{one} {} {value}", field.key);
            }
            let snake: String = field
                .api
                .replace("SSL", "Ssl")
                .chars()
                .flat_map(|c| {
                    c.is_uppercase()
                        .then_some('_')
                        .into_iter()
                        .chain(c.to_lowercase())
                })
                .collect();
            assert_eq!(field.key, snake.trim_start_matches('_'));
        }
    }
    let has = |field: &Field| field.absent == Absent::Required;
    assert!(LISTENER.iter().any(has));
}

#[test]
fn every_problem_has_its_place() {
    let head = "[[load_balancers]]\nname = \"a\"\n";
    let listener = "[[load_balancers.listeners]]\nprotocol = \"http\"\nload_balancer_port = 1\n";
    let forward = "forward = \"application\"\n";
    let rule = "[[load_balancers.listeners.rules]]\ndomain = \"a\"\nurl = \"/\"\n";
    let of_rule = |rest: &str| format!("{head}{forward}{listener}{rule}{rest}");
    let cases = [
        (
            "x = 1".to_owned(),
            "1:1: x: only [[load_balancers]] can stand here",
        ),
        (
            "load_balancers = 1".to_owned(),
            "1:18: load_balancers: must be tables [[load_balancers]]",
        ),
        (
            "[[load_balancers]]\ntype = \"public\"".to_owned(),
            "1:1: load_balancers.name: is required and must be 1 to 50 letters",
        ),
        (
            format!("{head}{head}"),
            "3:1: load_balancers.name = \"a\": line 1 has this name already",
        ),
        (
            format!("{head}nam = 1"),
            "3:1: load_balancers.nam: unknown key; did you mean name?",
        ),
        (
            format!("{head}color = 1"),
            "3:1: load_balancers.color: unknown key; there are name, type, forward, vip, domain_prefix,",
        ),
        (
            format!("{head}type = 3"),
            "3:8: load_balancers.type = 3: must be one of \"public\", \"private\"",
        ),
        (
            format!("{head}vip = \"x\""),
            "3:7: load_balancers.vip = \"x\": must be an IP address",
        ),
        (
            format!("{head}{listener}"),
            "3:1: load_balancers.listeners.instance_port: is required and must be an integer from 1 to 65535",
        ),
        (
            format!("{head}{forward}{listener}session_expire = 30"),
            "7:1: load_balancers.listeners.session_expire: is only for TCP and UDP listeners and those of classic",
        ),
        (
            format!("{head}{forward}{listener}{listener}"),
            "7:1: load_balancers.listeners.load_balancer_port = 1: the listener of line 4 has this port",
        ),
        (
            format!("{head}{forward}{listener}backends = []"),
            "7:1: load_balancers.listeners.backends: unknown key",
        ),
        (
            of_rule("interval_time = 4"),
            "10:17: load_balancers.listeners.rules.interval_time = 4: must be an integer from 5 to 300",
        ),
        (
            of_rule("http_hash = \"x\""),
            "10:13: load_balancers.listeners.rules.http_hash = \"x\": must be one of \"wrr\", \"ip_hash\", \"least_conn\"",
        ),
        (
            of_rule(rule),
            "10:1: load_balancers.listeners.rules: line 7 has a rule with this domain and url",
        ),
        (
            of_rule("rewrite_url = \"/\""),
            "7:1: load_balancers.listeners.rules: rewrite_domain and rewrite_url need rewrite_port",
        ),
        (
            of_rule("rewrite_port = 2"),
            "7:1: load_balancers.listeners.rules.rewrite_port = 2: this load balancer has no rule a / at that port",
        ),
        (
            of_rule("backends = [{ port = 1 }]"),
            "10:13: load_balancers.listeners.rules.backends: one of instance_id and eni_ip is required",
        ),
        (
            of_rule("backends = [{ instance_id = \"a\" }]"),
            "10:13: load_balancers.listeners.rules.backends.port: is required",
        ),
        (
            of_rule("backends = [{ instance_id = \"a\", port = 1, weight = 101 }]"),
            "10:53: load_balancers.listeners.rules.backends.weight = 101: must be an integer from 0 to 100",
        ),
        (
            of_rule(
                "backends = [{ instance_id = \"a\", port = 1 }, { instance_id = \"a\", port = 1 }]",
            ),
            "10:46: load_balancers.listeners.rules.backends: a stands here twice",
        ),
        (of_rule("url = 1"), "10:1: duplicate key"),
    ];
    for (text, expected) in cases {
        let problems = read::parse(&text).unwrap_err();
        let said: Vec<String> = problems
            .iter()
            .map(|(place, message)| format!("{}:{}: {message}", place.line, place.column))
            .collect();
        assert!(
            said.len() == 1 && said[0].starts_with(expected),
            "{expected}\n{said:?}"
        );
    }
}
