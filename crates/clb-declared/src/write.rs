//! From what runs to a file.

use std::fmt::Write as _;

use clb_model::{Family, LoadBalancerType, Weight};
use sha2::{Digest as _, Sha256};

use crate::fields::{Absent, Field, LISTENER, LOAD_BALANCER, RULE};
use crate::shape::{Backend, LoadBalancer, Rule, Settings, protocol_word};

/// `[[load_balancers]]` of a file. Keys that have their defaults are left out.
#[must_use]
pub fn to_toml(load_balancers: &[LoadBalancer]) -> String {
    let mut out = String::new();
    for lb in load_balancers {
        one(lb, &mut out);
    }
    out
}

/// What a declaration is known by: it changes when what is declared does, and not when the file says
/// the same in other words. SHA-256 in hexadecimal digits of what [`to_toml`] writes of it.
#[must_use]
pub fn fingerprint(lb: &LoadBalancer) -> String {
    let mut out = String::new();
    one(lb, &mut out);
    let digest = Sha256::digest(out.as_bytes());
    digest.iter().fold(String::new(), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

fn one(lb: &LoadBalancer, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str("[[load_balancers]]\n");
    line(out, "name", &quoted(&lb.name));
    let network = match lb.network {
        LoadBalancerType::Public => "public",
        LoadBalancerType::Private => "private",
    };
    line(out, "type", &quoted(network));
    let family = match lb.family {
        Family::Classic => "classic",
        Family::Application => "application",
    };
    line(out, "forward", &quoted(family));
    if let Some(vip) = lb.vip {
        line(out, "vip", &quoted(&vip.to_string()));
    }
    settings(out, LOAD_BALANCER, &lb.settings);
    backends(out, &lb.backends);
    for listener in &lb.listeners {
        out.push_str("\n[[load_balancers.listeners]]\n");
        line(out, "protocol", &quoted(protocol_word(listener.protocol)));
        line(out, "load_balancer_port", &listener.port.to_string());
        settings(out, LISTENER, &listener.settings);
        backends(out, &listener.backends);
        for one in &listener.rules {
            rule(out, one);
        }
    }
}

fn rule(out: &mut String, rule: &Rule) {
    out.push_str("\n[[load_balancers.listeners.rules]]\n");
    line(out, "domain", &quoted(rule.domain.as_str()));
    line(out, "url", &quoted(rule.url.as_str()));
    settings(out, RULE, &rule.settings);
    if let Some(to) = &rule.redirect {
        line(out, "rewrite_port", &to.port.to_string());
        if to.domain.key() != rule.domain.key() {
            line(out, "rewrite_domain", &quoted(to.domain.as_str()));
        }
        if to.url.key() != rule.url.key() {
            line(out, "rewrite_url", &quoted(to.url.as_str()));
        }
    }
    backends(out, &rule.backends);
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key} = {value}");
}

fn settings(out: &mut String, fields: &[Field], settings: &Settings) {
    for field in fields {
        let Some(value) = settings.get(field.api) else {
            continue;
        };
        if matches!(field.absent, Absent::Is(default) if default == value) {
            continue;
        }
        let is_number = !value.is_empty()
            && field
                .kind()
                .is_some_and(|kind| value.parse().is_ok_and(|number| kind.takes_int(number)));
        match is_number {
            true => line(out, field.key, value),
            false => line(out, field.key, &quoted(value)),
        }
    }
}

fn backends(out: &mut String, backends: &[Backend]) {
    if backends.is_empty() {
        return;
    }
    out.push_str("backends = [\n");
    for backend in backends {
        let key = match backend.by_address {
            true => "eni_ip",
            false => "instance_id",
        };
        let _ = write!(out, "  {{ {key} = {}", quoted(&backend.instance));
        if let Some(port) = backend.port {
            let _ = write!(out, ", port = {port}");
        }
        if backend.weight != Weight::DEFAULT {
            let _ = write!(out, ", weight = {}", backend.weight);
        }
        out.push_str(" },\n");
    }
    out.push_str("]\n");
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
