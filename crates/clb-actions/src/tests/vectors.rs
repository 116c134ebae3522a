//! The signature against values that were computed elsewhere (actions.md A.6).

use proptest::prelude::*;

use super::client::{PATH, SECRET_ID, SECRET_KEY, pairs};
use crate::form::{Pair, decode_form};
use crate::signature::{Algorithm, sign, string_to_sign, verify};

struct Vector {
    secret_key: &'static str,
    method: &'static str,
    host: &'static str,
    params: Vec<Pair>,
    signature: &'static str,
}

impl Vector {
    fn algorithm(&self) -> Algorithm {
        let given = self
            .params
            .iter()
            .find(|(name, _)| name == "SignatureMethod")
            .map(|(_, value)| value.as_str());
        Algorithm::from_method_param(given)
    }

    fn text(&self) -> String {
        string_to_sign(self.method, self.host, PATH, &self.params)
    }

    fn verifies(&self, text: &str, signature: &str) -> bool {
        verify(self.secret_key, self.algorithm(), text, signature)
    }
}

/// The product document's worked example, with its reading errors put right.
fn document(id_parameter: &str, method: &str, signature: &'static str) -> Vector {
    Vector {
        secret_key: SECRET_KEY,
        method: "GET",
        host: "cvm.api.qcloud.com",
        params: pairs(&[
            ("Action", "DescribeInstances"),
            ("SecretId", SECRET_ID),
            ("Timestamp", "1465185768"),
            ("Nonce", "11886"),
            ("Region", "ap-guangzhou"),
            (id_parameter, "ins-09dx96dg"),
            ("SignatureMethod", method),
        ]),
        signature,
    }
}

/// From the official Python client's own tests.
fn python(http: &'static str, method: &str, signature: &'static str) -> Vector {
    Vector {
        secret_key: "secretKeyBar",
        method: http,
        host: "cvm.api.qcloud.com",
        params: pairs(&[
            ("Action", "DescribeInstances"),
            ("Nonce", "1290303896666895346"),
            ("Region", "ap-guangzhou"),
            ("SecretId", "secretIdFoo"),
            ("SignatureMethod", method),
            ("Timestamp", "1512393162"),
            ("Version", "2017-03-12"),
        ]),
        signature,
    }
}

fn listeners(
    host: &'static str,
    http: &'static str,
    method: Option<&str>,
    signature: &'static str,
) -> Vector {
    let mut params = pairs(&[
        ("Action", "CreateLoadBalancerListeners"),
        ("Nonce", "46364"),
        ("Region", "ap-guangzhou"),
        ("SecretId", SECRET_ID),
        ("Timestamp", "1465750149"),
        ("listeners.0.healthSwitch", "1"),
        ("listeners.0.instancePort", "80"),
        ("listeners.0.listenerName", "listenerTest"),
        ("listeners.0.loadBalancerPort", "80"),
        ("listeners.0.protocol", "2"),
        ("loadBalancerId", "lb-cjcymkw5"),
    ]);
    params.extend(method.map(|value| ("SignatureMethod".to_owned(), value.to_owned())));
    Vector {
        secret_key: SECRET_KEY,
        method: http,
        host,
        params,
        signature,
    }
}

fn careful_values() -> Vector {
    let body = format!(
        "Action=ModifyLoadBalancerListener&Nonce=46365&SSLMode=&SecretId={SECRET_ID}\
         &SignatureMethod=HmacSHA256&Timestamp=1465750149&listenerId=lbl-6hkiqc6c\
         &listenerName=a_b+c%2Bd%2F%C3%A9%26%3D&loadBalancerId=lb-cjcymkw5"
    );
    Vector {
        secret_key: SECRET_KEY,
        method: "POST",
        host: "127.0.0.1:8443",
        params: decode_form(body.as_bytes()).unwrap(),
        signature: "7UsZTUoGyV9PgIMkAAlylcAot+AuaUbLAwZDdP40ZIc=",
    }
}

fn vectors() -> Vec<Vector> {
    let sha256 = Some("HmacSHA256");
    let (cloud, local) = ("lb.api.qcloud.com", "127.0.0.1:8443");
    vec![
        document(
            "InstanceIds.0",
            "HmacSHA256",
            "0EEm/HtGRr/VJXTAD9tYMth1Bzm3lLHz5RCDv1GdM8s=",
        ),
        document("InstanceIds.0", "HmacSHA1", "nPVnY6njQmwQ8ciqbPl5Qe+Oru4="),
        document(
            "InstanceId",
            "HmacSHA256",
            "iAoneZbZ8EWC1m7FN1jR4PUm6GefkyT0xjCiw/c40OQ=",
        ),
        python("POST", "HmacSHA1", "p3n+pxBqF5JGZtDSxoVn5tGngf0="),
        python("GET", "HmacSHA1", "5HAq1BOKNLEE2/uauWnp6Zv9Z3c="),
        python(
            "POST",
            "HmacSHA256",
            "B2T37FRSP6Fk0/q/cdfrTE0p3zX5ooB/2BPWZUFpsj4=",
        ),
        listeners(cloud, "GET", None, "nTGTTcYLMoDl1Ta4J8kotPm131w="),
        listeners(cloud, "POST", None, "/ksBP4VtK/J6RhoWOJSypC3n4tY="),
        listeners(local, "GET", None, "cR6hccis9rcGqFMlTfKqhJjmdPw="),
        listeners(local, "POST", None, "/ZHOdx0p0gyUE6EqJeOchXu4v4c="),
        listeners(
            cloud,
            "GET",
            sha256,
            "jmqXKHu0H13G87CRln/s6itGEhZ4D0+t2wZ43PN8IHk=",
        ),
        listeners(
            cloud,
            "POST",
            sha256,
            "rwLt21DKACFo/fMkIh7y1+p2lJ6NphooGrVJXYXsSPE=",
        ),
        listeners(
            local,
            "GET",
            sha256,
            "KORkgkMTLwVwcsmQiKM+rgkzlIkKM3ZNZ3DP10Ao/7k=",
        ),
        listeners(
            local,
            "POST",
            sha256,
            "nED6j1ZWTyosHSQScM/mJJ3id4mMjNK+V0F2ax9cO3I=",
        ),
        careful_values(),
    ]
}

#[test]
fn every_vector_signs_and_verifies() {
    for vector in vectors() {
        let text = vector.text();
        assert_eq!(
            sign(vector.secret_key, vector.algorithm(), &text),
            vector.signature,
            "{text}"
        );
        assert!(vector.verifies(&text, vector.signature));
    }
}

#[test]
fn the_misprints_of_the_document_do_not_verify() {
    let vectors = vectors();
    assert!(!vectors[0].verifies(
        &vectors[0].text(),
        "0EEem/HtGRr/VJXTAD9tYMth1Bzm3lLHz5RCDv1GdM8s="
    ));
    assert!(!vectors[1].verifies(&vectors[1].text(), "nPVnY6njQmwQ8ciqbPI5Qe+Oru4="));
}

#[test]
fn each_change_of_one_character_of_a_signature_fails() {
    for vector in vectors() {
        let text = vector.text();
        for at in 0..vector.signature.len() {
            // All 64 digits, the padding, and what an unencoded '+' turns into.
            for other in
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= ".chars()
            {
                let mut changed = vector.signature.to_owned();
                changed.replace_range(at..=at, &other.to_string());
                assert_eq!(
                    vector.verifies(&text, &changed),
                    changed == vector.signature,
                    "{changed}"
                );
            }
            let mut shorter = vector.signature.to_owned();
            shorter.remove(at);
            assert!(!vector.verifies(&text, &shorter));
        }
        assert!(!vector.verifies(&text, ""));
        assert!(!vector.verifies(&text, &format!("{}=", vector.signature)));
    }
}

#[test]
fn each_change_of_one_character_of_the_signed_parameters_fails() {
    for vector in vectors() {
        for row in 0..vector.params.len() {
            for (in_name, at) in places(&vector.params[row]) {
                let mut params = vector.params.clone();
                let half = if in_name {
                    &mut params[row].0
                } else {
                    &mut params[row].1
                };
                let mut characters: Vec<char> = half.chars().collect();
                characters[at] = if characters[at] == 'x' { 'y' } else { 'x' };
                *half = characters.into_iter().collect();
                let text = string_to_sign(vector.method, vector.host, PATH, &params);
                assert!(!vector.verifies(&text, vector.signature), "{text}");
            }
            let mut params = vector.params.clone();
            params.remove(row);
            let text = string_to_sign(vector.method, vector.host, PATH, &params);
            assert!(!vector.verifies(&text, vector.signature), "{text}");
        }
        for other in [
            string_to_sign("PUT", vector.host, PATH, &vector.params),
            string_to_sign(vector.method, "other.host", PATH, &vector.params),
            string_to_sign(vector.method, vector.host, "/v2/index.html", &vector.params),
        ] {
            assert!(!vector.verifies(&other, vector.signature));
        }
    }
}

/// Every character of a parameter: whether it is in the name, and where.
fn places((name, value): &Pair) -> Vec<(bool, usize)> {
    let in_name = (0..name.chars().count()).map(|at| (true, at));
    let in_value = (0..value.chars().count()).map(|at| (false, at));
    in_name.chain(in_value).collect()
}

#[test]
fn the_text_is_sorted_by_byte_and_leaves_values_and_empty_parameters_as_they_are() {
    let params = pairs(&[
        ("b", "2"),
        ("Signature", "left out"),
        ("a_b", "x_y"),
        ("B", "é &="),
        ("empty", ""),
        ("a.10", "1"),
        ("a.2", "1"),
    ]);
    assert_eq!(
        string_to_sign("GET", "h", "/p", &params),
        "GETh/p?B=é &=&a.10=1&a.2=1&a.b=x_y&b=2&empty="
    );
}

#[test]
fn only_the_exact_method_name_selects_sha_256() {
    assert_eq!(
        Algorithm::from_method_param(Some("HmacSHA256")),
        Algorithm::Sha256
    );
    for other in [
        None,
        Some("HmacSHA1"),
        Some("hmacsha256"),
        Some(""),
        Some("HmacSHA512"),
    ] {
        assert_eq!(Algorithm::from_method_param(other), Algorithm::Sha1);
    }
}

proptest! {
    #[test]
    fn any_key_and_text_sign_and_verify(key in any::<String>(), text in any::<String>()) {
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
            let signature = sign(&key, algorithm, &text);
            prop_assert!(verify(&key, algorithm, &text, &signature));
            let changed = format!("{text}.");
            prop_assert!(!verify(&key, algorithm, &changed, &signature));
            let other_key = format!("{key}.");
            prop_assert!(!verify(&other_key, algorithm, &text, &signature));
        }
    }
}
