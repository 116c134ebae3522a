//! Every range of the served Actions, at and beyond its ends (actions.md B.3 and D).

use super::client::{call, refused};

const LB: (&str, &str) = ("loadBalancerId", "lb-abcdefgh");

const LBL: (&str, &str) = ("listenerId", "lbl-abcdefgh");

fn base(action: &str) -> Vec<(&'static str, &'static str)> {
    match action {
        "InquiryLBPrice" | "CreateLoadBalancer" => vec![("loadBalancerType", "2")],
        "DescribeLoadBalancers" => vec![],
        "DescribeLoadBalancersTaskResult" => vec![("requestId", "1")],
        "CreateLoadBalancerListeners" => listener("2"),
        "ModifyLoadBalancerListener" => vec![LB, ("listenerId", "lbl-abcdefgh")],
        "RegisterInstancesWithLoadBalancer" => vec![LB, ("backends.0.instanceId", "ins-1")],
        "ModifyLoadBalancerBackends" => vec![
            LB,
            ("backends.0.instanceId", "ins-1"),
            ("backends.0.weight", "1"),
        ],
        "ModifyForwardLBName" => vec![LB, ("loadBalancerName", "web")],
        "CreateForwardLBSeventhLayerListeners" => vec![
            LB,
            ("listeners.0.loadBalancerPort", "80"),
            ("listeners.0.protocol", "1"),
        ],
        "DeleteForwardLBListener" | "DeleteForwardLBListenerRules" => vec![LB, LBL],
        "CreateForwardLBListenerRules" => vec![
            LB,
            LBL,
            ("rules.0.domain", "www.a.com"),
            ("rules.0.url", "/"),
        ],
        "ModifyForwardLBRulesDomain" => {
            vec![LB, LBL, ("domain", "www.a.com"), ("newDomain", "www.b.com")]
        }
        "ModifyLoadBalancerRulesProbe" => vec![LB, LBL, ("locationId", "loc-abcdefgh")],
        "DescribeForwardLBHealthStatus" => vec![("loadBalancerIds.0", "lb-abcdefgh")],
        "ModifyForwardSeventhBackendsPort" => vec![
            LB,
            LBL,
            ("backends.0.instanceId", "ins-1"),
            ("backends.0.port", "80"),
            ("backends.0.newPort", "81"),
        ],
        "RegisterInstancesWithForwardLBSeventhListener"
        | "ModifyForwardSeventhBackends"
        | "DeregisterInstancesFromForwardLB" => vec![
            LB,
            LBL,
            ("backends.0.instanceId", "ins-1"),
            ("backends.0.port", "80"),
        ],
        _ => vec![LB],
    }
}

fn listener(protocol: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        LB,
        ("listeners.0.loadBalancerPort", "80"),
        ("listeners.0.instancePort", "8080"),
        ("listeners.0.protocol", protocol),
    ]
}

/// `base` with one parameter set.
fn set<'a>(
    mut base: Vec<(&'a str, &'a str)>,
    name: &'a str,
    value: &'a str,
) -> Vec<(&'a str, &'a str)> {
    base.retain(|(given, _)| *given != name);
    base.push((name, value));
    base
}

fn check(action: &str, base: &[(&str, &str)], name: &str, good: &[&str], bad: &[&str]) {
    for value in good {
        let own = set(base.to_vec(), name, value);
        assert!(call(action, &own).is_ok(), "{action} {name}={value}");
    }
    for value in bad {
        let message = refused(action, &set(base.to_vec(), name, value));
        assert!(
            message.starts_with(&format!("{name}={value}: must be ")),
            "{message}"
        );
    }
}

const NOT_INTEGERS: &[&str] = &[
    "+5",
    " 5",
    "5 ",
    "05",
    "5.0",
    "5s",
    "-0",
    "five",
    "0x5",
    "5e0",
    "99999999999999999999",
];

const PORT_GOOD: &[&str] = &["1", "80", "443", "65535"];
const PORT_BAD: &[&str] = &["0", "-1", "65536", "443s"];
const EXPIRE_GOOD: &[&str] = &["0", "30", "31", "3599", "3600"];
const EXPIRE_BAD: &[&str] = &["-1", "1", "2", "29", "3601", "7200"];
const TIME_OUT_GOOD: &[&str] = &["2", "3", "59", "60"];
const TIME_OUT_BAD: &[&str] = &["-2", "0", "1", "61"];
const INTERVAL_GOOD: &[&str] = &["5", "6", "299", "300"];
const INTERVAL_BAD: &[&str] = &["0", "4", "301"];
const COUNT_GOOD: &[&str] = &["2", "3", "10"];
const COUNT_BAD: &[&str] = &["0", "1", "11"];
const CODE_GOOD: &[&str] = &["1", "2", "30", "31"];
const CODE_BAD: &[&str] = &["-1", "0", "32"];
const WEIGHT_GOOD: &[&str] = &["0", "1", "10", "100"];
const WEIGHT_BAD: &[&str] = &["-1", "101"];
const SWITCH_GOOD: &[&str] = &["0", "1"];
const SWITCH_BAD: &[&str] = &["-1", "2", "on", "true"];
const NUMBER_GOOD: &[&str] = &["0", "1", "2147483647"];
const NUMBER_BAD: &[&str] = &["-1", "2147483648"];
const SCHEDULER_GOOD: &[&str] = &["wrr", "least_conn"];
const SCHEDULER_BAD: &[&str] = &["WRR", "ip_hash", "rr", "1", "wrr "];
const HASH_GOOD: &[&str] = &["wrr", "ip_hash", "least_conn"];
const HASH_BAD: &[&str] = &["0", "1", "iphash", "IP_HASH"];
const PROTOCOL_BAD: &[&str] = &["0", "5", "-1", "TCP", "tcp"];

#[test]
fn every_range_holds_at_its_ends() {
    let longest_path: &str = &format!("/{}", "a".repeat(254));
    let too_long_path: &str = &format!("{longest_path}a");
    let path_good = &["/", "/health?x=1#~", longest_path][..];
    let path_bad = &["health", "/a b", "/é", "//\u{7f}", too_long_path][..];
    let long: &str = &"n".repeat(50);
    let too_long: &str = &"n".repeat(51);
    let name_good = &["a", "my-lb_name", "负载均衡1", long][..];
    let name_bad = &["a b", "a.b", "a/b", "-\n", too_long][..];
    let prefix_good = &["a", "my-prefix-0", "aaaaaaaaaaaaaaaaaaaa"][..];
    let prefix_bad = &["A", "a_b", "a.b", "é", "aaaaaaaaaaaaaaaaaaaaa"][..];
    let listeners = "CreateLoadBalancerListeners";
    let modify = "ModifyLoadBalancerListener";
    let describe = "DescribeLoadBalancers";
    #[rustfmt::skip]
    let rows: &[(&str, &str, &[&str], &[&str])] = &[
        ("InquiryLBPrice", "loadBalancerType", &["2", "3"], &["0", "1", "4"]),
        ("InquiryLBPrice", "timeUnit", &["h"], &["H", "d", "m"]),
        ("CreateLoadBalancer", "loadBalancerType", &["2", "3"], &["1", "4", "-2"]),
        ("CreateLoadBalancer", "forward", SWITCH_GOOD, SWITCH_BAD),
        ("CreateLoadBalancer", "loadBalancerName", name_good, name_bad),
        ("CreateLoadBalancer", "domainPrefix", prefix_good, prefix_bad),
        ("CreateLoadBalancer", "vpcId", &["0", "12345", "vpc-1a2b3c4d"], &["01", "vpc-", "vpc-A", "subnet-1", "12345678901"]),
        ("CreateLoadBalancer", "subnetId", &["0", "12345", "subnet-1a2b3c4d"], &["-1", "subnet-", "vpc-1"]),
        ("CreateLoadBalancer", "projectId", NUMBER_GOOD, NUMBER_BAD),
        ("CreateLoadBalancer", "number", &["1", "20"], &["0", "21", "-1"]),
        ("CreateLoadBalancer", "special", &["x", "any text, é"], &["a\tb"].map(|_| "x\u{85}")),
        (describe, "loadBalancerType", &["2", "3"], &["1", "4"]),
        (describe, "forward", &["-1", "0", "1"], &["-2", "2"]),
        (describe, "offset", NUMBER_GOOD, NUMBER_BAD),
        (describe, "limit", &["0", "1", "100"], &["-1", "101"]),
        (describe, "orderBy", &["loadBalancerName", "createTime", "domain", "loadBalancerType"], &["loadbalancername", "id"]),
        (describe, "orderType", SWITCH_GOOD, SWITCH_BAD),
        (describe, "projectId", NUMBER_GOOD, NUMBER_BAD),
        (describe, "withRs", &["0", "1", "2"], &["-1", "3"]),
        ("DescribeLoadBalancersTaskResult", "requestId", &["1", "9007199254740991"], &["0", "-1", "9007199254740992"]),
        ("ModifyLoadBalancerAttributes", "loadBalancerName", name_good, name_bad),
        ("ModifyLoadBalancerAttributes", "domainPrefix", prefix_good, prefix_bad),
        (listeners, "listeners.0.loadBalancerPort", PORT_GOOD, PORT_BAD),
        (listeners, "listeners.0.instancePort", PORT_GOOD, PORT_BAD),
        (listeners, "listeners.0.protocol", &["1", "2", "3"], PROTOCOL_BAD),
        (listeners, "listeners.0.sessionExpire", EXPIRE_GOOD, EXPIRE_BAD),
        (listeners, "listeners.0.healthSwitch", SWITCH_GOOD, SWITCH_BAD),
        (listeners, "listeners.0.timeOut", &["2", "3", "4"], TIME_OUT_BAD),
        (listeners, "listeners.0.intervalTime", INTERVAL_GOOD, INTERVAL_BAD),
        (listeners, "listeners.0.healthNum", COUNT_GOOD, COUNT_BAD),
        (listeners, "listeners.0.unhealthNum", COUNT_GOOD, COUNT_BAD),
        (listeners, "listeners.0.scheduler", SCHEDULER_GOOD, SCHEDULER_BAD),
        (listeners, "listeners.0.httpHash", &[], HASH_BAD),
        (listeners, "listeners.0.httpCode", &[], CODE_BAD),
        (listeners, "listeners.0.httpCheckPath", &[], path_bad),
        (listeners, "listeners.0.SSLMode", &[], &["Mutual", "one-way", "1"]),
        ("DescribeLoadBalancerListeners", "protocol", &["1", "2", "3", "4"], PROTOCOL_BAD),
        ("DescribeLoadBalancerListeners", "loadBalancerPort", PORT_GOOD, PORT_BAD),
        ("DescribeLoadBalancerListeners", "status", SWITCH_GOOD, SWITCH_BAD),
        ("DescribeLoadBalancerListeners", "offset", NUMBER_GOOD, NUMBER_BAD),
        ("DescribeLoadBalancerListeners", "limit", &["0", "20", "1000"], &["-1", "1001"]),
        (modify, "sessionExpire", EXPIRE_GOOD, EXPIRE_BAD),
        (modify, "healthSwitch", SWITCH_GOOD, SWITCH_BAD),
        (modify, "timeOut", TIME_OUT_GOOD, TIME_OUT_BAD),
        (modify, "intervalTime", INTERVAL_GOOD, INTERVAL_BAD),
        (modify, "healthNum", COUNT_GOOD, COUNT_BAD),
        (modify, "unhealthNum", COUNT_GOOD, COUNT_BAD),
        (modify, "scheduler", SCHEDULER_GOOD, SCHEDULER_BAD),
        (modify, "httpHash", HASH_GOOD, HASH_BAD),
        (modify, "httpCode", CODE_GOOD, CODE_BAD),
        (modify, "SSLMode", &["unidirectional", "mutual"], &["Mutual", "one-way", "1"]),
        ("RegisterInstancesWithLoadBalancer", "backends.0.weight", WEIGHT_GOOD, WEIGHT_BAD),
        ("ModifyLoadBalancerBackends", "backends.0.weight", WEIGHT_GOOD, WEIGHT_BAD),
        ("DescribeLoadBalancerBackends", "offset", NUMBER_GOOD, NUMBER_BAD),
        ("DescribeLoadBalancerBackends", "limit", &["0", "100"], &["-1", "101"]),
    ];
    for (action, name, good, bad) in rows {
        let bad: Vec<&str> = bad
            .iter()
            .copied()
            .filter(|value| !value.chars().any(char::is_control) && value.chars().count() <= 64)
            .collect();
        check(action, &base(action), name, good, &bad);
    }
    check(
        modify,
        &base(modify),
        "httpCheckPath",
        path_good,
        &path_bad[..3],
    );
    let web = listener("1");
    check(listeners, &web, "listeners.0.httpHash", HASH_GOOD, HASH_BAD);
    check(listeners, &web, "listeners.0.httpCode", CODE_GOOD, CODE_BAD);
    check(
        listeners,
        &web,
        "listeners.0.httpCheckPath",
        path_good,
        &path_bad[..3],
    );
    let slow = set(listener("2"), "listeners.0.intervalTime", "300");
    check(
        listeners,
        &slow,
        "listeners.0.timeOut",
        TIME_OUT_GOOD,
        TIME_OUT_BAD,
    );
}

#[test]
fn every_range_of_application_based_instances_holds_at_its_ends() {
    let longest: &str = &"a".repeat(80);
    let too_long: &str = &"a".repeat(81);
    let longest_path: &str = &format!("/{}", "a".repeat(79));
    let too_long_path: &str = &format!("{longest_path}a");
    let pattern_good = &["a", "~^é[\\w]+ x$", longest][..];
    let path_good = &["/", "/health_-.&#?%/x", longest_path][..];
    let path_bad = &["health", "/a b", "/a~", "/\"", "/é", too_long_path][..];
    let name_good = &["a", "my-lb_name", "负载均衡1"][..];
    let seventh = "CreateForwardLBSeventhLayerListeners";
    let rules = "CreateForwardLBListenerRules";
    let probe = "ModifyLoadBalancerRulesProbe";
    let describe = "DescribeForwardLBListeners";
    let backends = "DescribeForwardLBBackends";
    let register = "RegisterInstancesWithForwardLBSeventhListener";
    let weights = "ModifyForwardSeventhBackends";
    let ports = "ModifyForwardSeventhBackendsPort";
    let unbind = "DeregisterInstancesFromForwardLB";
    let methods = &["GET", "HEAD"][..];
    let methods_bad = &["get", "POST", "0"][..];
    #[rustfmt::skip]
    let rows: &[(&str, &str, &[&str], &[&str])] = &[
        ("ModifyForwardLBName", "loadBalancerName", name_good, &["a b", "a.b"]),
        (seventh, "listeners.0.loadBalancerPort", PORT_GOOD, PORT_BAD),
        (seventh, "listeners.0.protocol", &["1"], &["0", "2", "3", "5", "http"]),
        (seventh, "listeners.0.listenerName", &["any text, é"], &[]),
        (describe, "protocol", &["1", "2", "3", "4"], PROTOCOL_BAD),
        (describe, "loadBalancerPort", PORT_GOOD, PORT_BAD),
        (describe, "offset", NUMBER_GOOD, NUMBER_BAD),
        (describe, "limit", &["0", "20", "1000"], &["-1", "1001"]),
        (backends, "protocol", &["1", "2", "3", "4"], PROTOCOL_BAD),
        (backends, "loadBalancerPort", PORT_GOOD, PORT_BAD),
        (rules, "rules.0.domain", pattern_good, &[too_long]),
        (rules, "rules.0.url", pattern_good, &[too_long]),
        (rules, "rules.0.sessionExpire", EXPIRE_GOOD, EXPIRE_BAD),
        (rules, "rules.0.healthSwitch", SWITCH_GOOD, SWITCH_BAD),
        (rules, "rules.0.intervalTime", INTERVAL_GOOD, INTERVAL_BAD),
        (rules, "rules.0.healthNum", COUNT_GOOD, COUNT_BAD),
        (rules, "rules.0.unhealthNum", COUNT_GOOD, COUNT_BAD),
        (rules, "rules.0.httpHash", HASH_GOOD, HASH_BAD),
        (rules, "rules.0.httpCode", CODE_GOOD, CODE_BAD),
        (rules, "rules.0.httpCheckPath", path_good, path_bad),
        (rules, "rules.0.httpCheckDomain", &["a.com", longest], &[too_long]),
        (rules, "rules.0.httpCheckMethod", methods, methods_bad),
        (rules, "rules.0.timeOut", &["2", "4"], TIME_OUT_BAD),
        ("ModifyForwardLBRulesDomain", "newDomain", pattern_good, &[too_long]),
        (probe, "url", pattern_good, &[too_long]),
        (probe, "sessionExpire", EXPIRE_GOOD, EXPIRE_BAD),
        (probe, "healthSwitch", SWITCH_GOOD, SWITCH_BAD),
        (probe, "intervalTime", INTERVAL_GOOD, INTERVAL_BAD),
        (probe, "healthNum", COUNT_GOOD, COUNT_BAD),
        (probe, "unhealthNum", COUNT_GOOD, COUNT_BAD),
        (probe, "httpHash", HASH_GOOD, HASH_BAD),
        (probe, "httpCode", CODE_GOOD, CODE_BAD),
        (probe, "httpCheckPath", path_good, path_bad),
        (probe, "httpCheckDomain", &["a.com", longest], &[too_long]),
        (probe, "httpCheckMethod", methods, methods_bad),
        (probe, "timeOut", TIME_OUT_GOOD, TIME_OUT_BAD),
        (register, "backends.0.port", PORT_GOOD, PORT_BAD),
        (register, "backends.0.weight", WEIGHT_GOOD, WEIGHT_BAD),
        (weights, "backends.0.port", PORT_GOOD, PORT_BAD),
        (weights, "backends.0.weight", WEIGHT_GOOD, WEIGHT_BAD),
        (ports, "backends.0.port", PORT_GOOD, PORT_BAD),
        (ports, "backends.0.newPort", PORT_GOOD, PORT_BAD),
        (ports, "backends.0.weight", WEIGHT_GOOD, WEIGHT_BAD),
        (unbind, "backends.0.port", PORT_GOOD, PORT_BAD),
    ];
    for (action, name, good, bad) in rows {
        let (long, short): (Vec<&str>, Vec<&str>) =
            bad.iter().partition(|value| value.chars().count() > 64);
        check(action, &base(action), name, good, &short);
        for value in long {
            // Long values are shortened in the message.
            let message = refused(action, &set(base(action), name, value));
            assert!(message.starts_with(&format!("{name}=")) && message.contains(": must be "));
        }
    }
}

#[test]
fn values_that_are_too_long_or_unprintable_are_refused() {
    let long_name = "n".repeat(51);
    let long_path = format!("/{}", "a".repeat(255));
    let long_text = "x".repeat(256);
    for (action, name, value) in [
        ("CreateLoadBalancer", "loadBalancerName", long_name.as_str()),
        ("CreateLoadBalancer", "loadBalancerName", "a\n"),
        ("CreateLoadBalancer", "special", "a\tb"),
        ("CreateLoadBalancer", "special", &long_text),
        ("DescribeLoadBalancers", "searchKey", &long_text),
        ("DescribeLoadBalancers", "special", &long_text),
        ("ModifyLoadBalancerListener", "httpCheckPath", &long_path),
        ("ModifyLoadBalancerListener", "httpCheckPath", "/\u{7f}"),
        ("ModifyLoadBalancerListener", "listenerName", &long_text),
        ("ModifyLoadBalancerListener", "certName", &long_text),
        (
            "RegisterInstancesWithLoadBalancer",
            "backends.0.instanceId",
            &long_text,
        ),
    ] {
        let message = refused(action, &set(base(action), name, value));
        assert!(message.starts_with(&format!("{name}=")), "{message}");
    }
}

#[test]
fn an_int_is_nothing_but_a_plain_decimal_number() {
    for (action, name) in [
        ("CreateLoadBalancer", "number"),
        ("CreateLoadBalancer", "loadBalancerType"),
        ("DescribeLoadBalancersTaskResult", "requestId"),
        (
            "CreateLoadBalancerListeners",
            "listeners.0.loadBalancerPort",
        ),
        ("ModifyLoadBalancerListener", "intervalTime"),
        ("ModifyLoadBalancerBackends", "backends.0.weight"),
    ] {
        check(action, &base(action), name, &[], NOT_INTEGERS);
    }
}

#[test]
fn the_whole_range_of_session_persistence_is_walked() {
    for seconds in -1i64..=3700 {
        let value = seconds.to_string();
        let own = set(base("ModifyLoadBalancerListener"), "sessionExpire", &value);
        let expected = seconds == 0 || (30..=3600).contains(&seconds);
        assert_eq!(
            call("ModifyLoadBalancerListener", &own).is_ok(),
            expected,
            "{seconds}"
        );
    }
}

#[test]
fn messages_say_what_is_allowed() {
    for (name, value, message) in [
        (
            "listeners.0.timeOut",
            "61",
            "listeners.0.timeOut=61: must be an integer from 2 to 60",
        ),
        (
            "listeners.0.sessionExpire",
            "29",
            "listeners.0.sessionExpire=29: must be 0 or an integer from 30 to 3600",
        ),
        (
            "listeners.0.protocol",
            "9",
            "listeners.0.protocol=9: must be one of 1, 2, 3, 4",
        ),
        (
            "listeners.0.httpHash",
            "1",
            "listeners.0.httpHash=1: must be one of wrr, ip_hash, least_conn",
        ),
    ] {
        let own = set(listener("2"), name, value);
        assert_eq!(refused("CreateLoadBalancerListeners", &own), message);
    }
}
