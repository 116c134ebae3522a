//! Steps 1 to 4 of actions.md A.11 and their order.

use super::client::{
    Call, HOST, NOW, READER_ID, SECRET_ID, SECRET_KEY, call, form, gatekeeper, gatekeeper_with,
};
use crate::{Access, ApiError, Key, Limits, Triple};

fn describe() -> Call {
    Call::new("DescribeLoadBalancers", &[])
}

fn refusal(call: &Call) -> ApiError {
    call.send(&gatekeeper()).unwrap_err()
}

#[test]
fn a_signed_request_is_admitted_by_get_and_post_and_both_hashes() {
    for call in [describe(), describe().post()] {
        for method in ["HmacSHA1", "HmacSHA256", "anything"] {
            let admitted = call
                .clone()
                .with("SignatureMethod", method)
                .with("limit", "5")
                .with("RequestClient", "SDK_PYTHON_2.0.15")
                .send(&gatekeeper())
                .unwrap();
            assert_eq!(admitted.action.name, "DescribeLoadBalancers");
            assert_eq!(admitted.params.int("limit"), Some(5));
            assert_eq!(admitted.key_id, SECRET_ID);
            assert_eq!(admitted.request_client, "SDK_PYTHON_2.0.15");
            assert_eq!(
                admitted.triple,
                Triple {
                    secret_id: SECRET_ID.to_owned(),
                    timestamp: NOW,
                    nonce: 46364
                }
            );
        }
    }
}

#[test]
fn the_host_may_be_signed_with_or_without_its_port_or_by_a_configured_name() {
    for host in [HOST, "127.0.0.1", "lb.api.qcloud.com"] {
        assert!(
            describe().signed_for(host).send(&gatekeeper()).is_ok(),
            "{host}"
        );
    }
    for host in [
        "127.0.0.1:8444",
        "LB.API.QCLOUD.COM",
        "monitor.api.qcloud.com",
        "",
    ] {
        assert_eq!(refusal(&describe().signed_for(host)).code, 4100, "{host}");
    }
    for (sent_to, signed) in [
        ("[::1]:8443", "[::1]"),
        ("[::1]", "[::1]"),
        ("gateway", "gateway"),
        ("Gateway:", "Gateway"),
    ] {
        let call = describe().sent_to(sent_to).signed_for(signed);
        assert!(call.send(&gatekeeper()).is_ok(), "{sent_to}");
    }
    let address_cut_short = describe().sent_to("::1").signed_for(":");
    assert_eq!(refusal(&address_cut_short).code, 4100);
}

#[test]
fn a_post_takes_nothing_from_its_query_string() {
    // The client of these stories puts a broken query string on every POST.
    assert!(describe().post().send(&gatekeeper()).is_ok());
}

#[test]
fn a_body_may_be_written_by_hand_without_encoding() {
    let call = Call::new("CreateLoadBalancer", &[("loadBalancerType", "2")])
        .post()
        .with("special", "50% off + é");
    let raw: Vec<String> = call
        .signed()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let admitted = call
        .send_text(&gatekeeper(), &raw.join("&"), None, NOW * 1000)
        .unwrap();
    assert_eq!(admitted.params.text("special"), Some("50% off + é"));

    let get = describe().with("special", "a+b");
    let raw: Vec<String> = get
        .signed()
        .iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    let error = get
        .send_text(&gatekeeper(), &raw.join("&"), None, NOW * 1000)
        .unwrap_err();
    assert_eq!(error.code, 4100, "a query string has one reading");
}

#[test]
fn a_signature_whose_plus_was_not_encoded_is_told_so() {
    // Some nonce gives a signature with a plus.
    let signed = (0..1000)
        .map(|nonce| describe().with("Nonce", &nonce.to_string()))
        .find(|call| call.signed().last().is_some_and(|(_, s)| s.contains('+')))
        .unwrap();
    let text = form(&signed.signed()).replace("%2B", "+");
    let error = signed
        .send_text(&gatekeeper(), &text, None, NOW * 1000)
        .unwrap_err();
    assert_eq!(error.code, 4100);
    assert!(error.message.contains("%2B"), "{error}");
    // In a body the other reading verifies.
    let post = signed.post();
    let raw: Vec<String> = post
        .signed()
        .iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    assert!(
        post.send_text(&gatekeeper(), &raw.join("&"), None, NOW * 1000)
            .is_ok()
    );
}

#[test]
fn a_multipart_body_of_the_java_client_is_admitted() {
    let call = Call::new(
        "CreateLoadBalancer",
        &[("loadBalancerType", "2"), ("special", "a+b%20é")],
    )
    .post();
    let mut body = String::new();
    for (name, value) in call.signed() {
        body.push_str(&format!(
            "\r\n--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}"
        ));
    }
    body.push_str("\r\n--XX--\r\n");
    let content_type = Some("multipart/form-data; boundary=XX");
    let admitted = call
        .send_text(&gatekeeper(), &body, content_type, NOW * 1000)
        .unwrap();
    assert_eq!(admitted.params.text("special"), Some("a+b%20é"));
}

#[test]
fn other_content_types_are_refused() {
    let call = describe().post();
    let body = form(&call.signed());
    for good in [
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded",
        "",
    ] {
        assert!(
            call.send_text(&gatekeeper(), &body, Some(good), NOW * 1000)
                .is_ok()
        );
    }
    for bad in [
        "application/json",
        "text/plain",
        "multipart/mixed; boundary=x",
        "multipart/form-data",
    ] {
        let error = call
            .send_text(&gatekeeper(), &body, Some(bad), NOW * 1000)
            .unwrap_err();
        assert_eq!((error.code, error.module), (4000, None), "{bad}");
    }
}

#[test]
fn undecodable_repeated_and_file_parameters_come_before_the_signature() {
    let garbled = |post: bool, text: &str| {
        let call = if post { describe().post() } else { describe() };
        call.send_text(&gatekeeper(), text, None, NOW * 1000)
            .unwrap_err()
    };
    for post in [false, true] {
        for (text, names) in [
            ("Action=DescribeLoadBalancers&special=%zz", "special"),
            ("Action=DescribeLoadBalancers&special=%FF", "special"),
            ("Action=X&limit=1&limit=1", "limit"),
            ("limit=1", "Action"),
            ("Action=&limit=1", "Action"),
        ] {
            let error = garbled(post, text);
            assert_eq!(error.code, 4000, "{text}");
            assert!(error.message.contains(names), "{error}");
        }
    }
    let file = garbled(true, "Action=X&certKey=%40secret-file");
    assert_eq!((file.code, file.module), (4000, None));
    assert!(file.message.contains("certKey") && !file.message.contains("secret-file"));
    assert!(
        describe()
            .with("special", "@file")
            .send(&gatekeeper())
            .is_ok()
    );
}

#[test]
fn the_callers_credentials_must_be_there_and_well_formed() {
    for name in ["Timestamp", "Nonce", "SecretId"] {
        for call in [describe().without(name), describe().with(name, "")] {
            let error = refusal(&call);
            assert_eq!((error.code, error.module), (4000, Some(9003)));
            assert!(error.message.starts_with(name), "{error}");
        }
    }
    let unsigned = describe()
        .send_text(&gatekeeper(), &form(&describe().params), None, NOW * 1000)
        .unwrap_err();
    assert_eq!(unsigned.code, 4000);
    assert!(unsigned.message.starts_with("Signature"), "{unsigned}");
    for (name, value) in [
        ("Timestamp", "now"),
        ("Timestamp", "-1"),
        ("Timestamp", "1465750149.5"),
        ("Timestamp", "01465750149"),
        ("Nonce", "-1"),
        ("Nonce", "1e3"),
        ("Nonce", "18446744073709551616"),
        ("SecretId", "AKID\n"),
    ] {
        let error = refusal(&describe().with(name, value));
        assert_eq!(error.code, 4000, "{name}={value}");
        assert!(error.message.starts_with(name), "{error}");
    }
    for nonce in ["0", "18446744073709551615"] {
        assert!(describe().with("Nonce", nonce).send(&gatekeeper()).is_ok());
    }
}

#[test]
fn tokens_and_versions_are_refused_before_the_signature_is_looked_at() {
    let wrong_key = Call {
        secret_key: "other".to_owned(),
        ..describe()
    };
    assert_eq!(refusal(&wrong_key.clone().with("Token", "t")).code, 4100);
    assert!(
        refusal(&wrong_key.clone().with("Token", "t"))
            .message
            .contains("Token")
    );
    assert_eq!(refusal(&wrong_key.with("Version", "2017-03-12")).code, 6100);
    let empty = describe()
        .with("Token", "")
        .with("Version", "")
        .with("Region", "");
    assert!(empty.send(&gatekeeper()).is_ok());
}

#[test]
fn unknown_keys_and_wrong_signatures_are_told_apart() {
    assert_eq!(
        refusal(&describe().with("SecretId", "AKIDnobody")).code,
        4104
    );
    let wrong_key = Call {
        secret_key: "other".to_owned(),
        ..describe()
    };
    assert_eq!(refusal(&wrong_key).code, 4100);
    // Not even the key that stands in for unknown ones opens anything.
    let stand_in = Call {
        secret_key: "no-key-has-this-secret-key-00000".to_owned(),
        ..describe().with("SecretId", "AKIDnobody")
    };
    assert_eq!(refusal(&stand_in).code, 4104);
}

#[test]
fn what_comes_first_is_answered_first() {
    // Everything is wrong; one by one it is put right.
    let gatekeeper = gatekeeper_with(Limits {
        nonces: 0,
        requests_per_second: 1,
    });
    let mut call = Call::new("DescribeInstances", &[("sesionExpire", "1")])
        .post()
        .with("special", "@file")
        .with("Timestamp", "then")
        .with("Token", "t")
        .with("Version", "3")
        .with("SecretId", "AKIDnobody")
        .with("Region", "ap-shanghai");
    call.secret_key = "wrong".to_owned();
    let old = (NOW - 7201).to_string();
    type Repair = Box<dyn Fn(Call) -> Call>;
    let steps: Vec<(u32, &str, Repair)> = vec![
        (4000, "'@'", Box::new(|c| c.with("special", "x"))),
        (
            4000,
            "Timestamp",
            Box::new(move |c| c.with("Timestamp", &old)),
        ),
        (4100, "Token", Box::new(|c| c.without("Token"))),
        (6100, "Version", Box::new(|c| c.without("Version"))),
        (
            4104,
            "AKIDnobody",
            Box::new(|c| c.with("SecretId", READER_ID)),
        ),
        (4100, "Signature", Box::new(Call::by_reader)),
        (
            4500,
            "Timestamp",
            Box::new(|c| c.with("Timestamp", &NOW.to_string())),
        ),
        (
            6100,
            "another product",
            Box::new(|c| c.with("Action", "CreateLoadBalancerz")),
        ),
        (4400, "per second", Box::new(|c| c)),
    ];
    for (code, text, repair) in steps {
        let error = call.send(&gatekeeper).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(text), "{error}");
        call = repair(call).with("Nonce", &(code * 7 + text.len() as u32).to_string());
    }
    gatekeeper.set_limits(Limits {
        nonces: 0,
        requests_per_second: 0,
    });
    let rest: Vec<(u32, &str, Repair)> = vec![
        (
            6100,
            "CreateLoadBalancer",
            Box::new(|c| c.with("Action", "CreateLoadBalancer")),
        ),
        (
            4101,
            "read-only",
            Box::new(|mut c| {
                c.secret_key = SECRET_KEY.to_owned();
                c.with("SecretId", SECRET_ID)
            }),
        ),
        (4000, "Region", Box::new(|c| c.without("Region"))),
        (
            4000,
            "sesionExpire",
            Box::new(|c| c.without("sesionExpire")),
        ),
        (
            4000,
            "loadBalancerType",
            Box::new(|c| c.with("loadBalancerType", "2")),
        ),
    ];
    for (number, (code, text, repair)) in rest.into_iter().enumerate() {
        call = call.with("Nonce", &(900_000 + number).to_string());
        let error = call.send(&gatekeeper).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(text), "{error}");
        call = repair(call);
    }
    assert!(call.with("Nonce", "1000000").send(&gatekeeper).is_ok());
}

#[test]
fn actions_are_found_by_their_exact_name() {
    let message = |action: &str| {
        let error = refusal(&Call::new(action, &[]));
        assert_eq!(error.code, 6100, "{action}");
        error.message
    };
    assert!(message("describeLoadBalancers").contains("DescribeLoadBalancers"));
    assert!(message("DescribeLoadBalancer").contains("nearest"));
    assert!(message("DescribeInstances").contains("another product"));
}

#[test]
fn a_read_only_key_may_read() {
    assert!(describe().by_reader().send(&gatekeeper()).is_ok());
    let error = refusal(&Call::new("DeleteLoadBalancers", &[]).by_reader());
    assert_eq!(error.code, 4101);
}

#[test]
fn a_region_is_this_gateways_or_refused() {
    for region in ["ap-guangzhou", "gz"] {
        assert!(
            describe()
                .with("Region", region)
                .send(&gatekeeper())
                .is_ok()
        );
    }
    for region in ["sh", "ap-shanghai", "GZ", "guangzhou"] {
        let error = refusal(&describe().with("Region", region));
        assert_eq!(error.code, 4000);
        assert!(error.message.contains("ap-guangzhou"), "{error}");
    }
}

#[test]
fn common_text_parameters_are_text() {
    for name in ["RequestClient", "RequestSource", "Language"] {
        assert!(describe().with(name, "x").send(&gatekeeper()).is_ok());
        assert_eq!(refusal(&describe().with(name, "a\nb")).code, 4000);
        assert_eq!(refusal(&describe().with(name, &"x".repeat(256))).code, 4000);
    }
    let from_the_command_line = describe()
        .with("RequestSource", "qcloudcli")
        .send(&gatekeeper());
    assert_eq!(from_the_command_line.unwrap().request_client, "qcloudcli");
}

#[test]
fn keys_can_be_replaced_while_running() {
    let gatekeeper = gatekeeper();
    assert!(describe().send(&gatekeeper).is_ok());
    let hosts = vec!["new.example".to_owned()];
    gatekeeper.set_keys(
        vec![Key::new(SECRET_ID, "new-secret", Access::ReadOnly)],
        "sh",
        hosts,
    );
    assert_eq!(
        describe()
            .with("Nonce", "1")
            .send(&gatekeeper)
            .unwrap_err()
            .code,
        4100
    );
    assert_eq!(
        describe().by_reader().send(&gatekeeper).unwrap_err().code,
        4104
    );
    let renewed = Call {
        secret_key: "new-secret".to_owned(),
        ..describe()
    };
    assert_eq!(
        renewed.send(&gatekeeper).unwrap_err().code,
        4500,
        "seen under the old secret"
    );
    let renewed = renewed
        .with("Nonce", "2")
        .with("Region", "ap-shanghai")
        .signed_for("new.example");
    assert!(renewed.send(&gatekeeper).is_ok());
}

#[test]
fn no_secret_shows_in_debug_output_or_errors() {
    let admitted = call(
        "ModifyLoadBalancerListener",
        &[
            ("loadBalancerId", "lb-abcdefgh"),
            ("listenerId", "lbl-abcdefgh"),
            ("certContent", "cert-text"),
            ("certKey", "private-key-text"),
            ("certName", "n"),
        ],
    )
    .unwrap();
    assert!(!format!("{admitted:?}").contains("private-key-text"));
    assert!(!format!("{:?}", gatekeeper()).contains(SECRET_KEY));
}
