//! From what runs to a file.

use std::fmt::Write as _;

use clb_model::{Family, LoadBalancerType, Weight};
use sha2::{Digest as _, Sha256};

use crate::fields::{Absent, Field, LISTENER, LOAD_BALANCER, RULE};
use crate::shape::{Backend, LoadBalancer, Rule, Settings};

/// `[[load_balancers]]` of a file. Keys that have their defaults are left out.
#[must_use]
pub fn to_toml(load_balancers: &[LoadBalancer]) -> String {
    let mut writer = Writer {
        out: String::new(),
        quoted: |text| toml::Value::String(text.to_owned()).to_string(),
    };
    for lb in load_balancers {
        writer.load_balancer(lb);
    }
    writer.out
}

/// What a declaration is known by: it changes when what is declared does, and not when the file says
/// the same in other words. SHA-256 in hexadecimal digits of what [`to_toml`] writes of it, texts
/// in JSON's form: how TOML's best form is chosen may change.
#[must_use]
pub fn fingerprint(lb: &LoadBalancer) -> String {
    let mut writer = Writer {
        out: String::new(),
        quoted: |text| serde_json::Value::String(text.to_owned()).to_string(),
    };
    writer.load_balancer(lb);
    let digest = Sha256::digest(writer.out.as_bytes());
    digest.iter().fold(String::new(), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

struct Writer {
    out: String,
    quoted: fn(&str) -> String,
}

impl Writer {
    fn load_balancer(&mut self, lb: &LoadBalancer) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str("[[load_balancers]]\n");
        self.text("name", &lb.name);
        let network = match lb.network {
            LoadBalancerType::Public => "public",
            LoadBalancerType::Private => "private",
        };
        self.text("type", network);
        let family = match lb.family {
            Family::Classic => "classic",
            Family::Application => "application",
        };
        self.text("forward", family);
        if let Some(vip) = lb.vip {
            self.text("vip", &vip.to_string());
        }
        self.settings(LOAD_BALANCER, &lb.settings);
        self.backends(&lb.backends);
        for listener in &lb.listeners {
            self.out.push_str("\n[[load_balancers.listeners]]\n");
            self.text("protocol", listener.protocol.word());
            self.number("load_balancer_port", listener.port);
            self.settings(LISTENER, &listener.settings);
            self.backends(&listener.backends);
            for rule in &listener.rules {
                self.rule(rule);
            }
        }
    }

    fn rule(&mut self, rule: &Rule) {
        self.out.push_str("\n[[load_balancers.listeners.rules]]\n");
        self.text("domain", rule.domain.as_str());
        self.text("url", rule.url.as_str());
        self.settings(RULE, &rule.settings);
        if let Some(to) = &rule.redirect {
            self.number("rewrite_port", to.port);
            if to.domain.key() != rule.domain.key() {
                self.text("rewrite_domain", to.domain.as_str());
            }
            if to.url.key() != rule.url.key() {
                self.text("rewrite_url", to.url.as_str());
            }
        }
        self.backends(&rule.backends);
    }

    fn text(&mut self, key: &str, value: &str) {
        let quoted = (self.quoted)(value);
        self.number(key, quoted);
    }

    fn number(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.out, "{key} = {value}");
    }

    fn settings(&mut self, fields: &[Field], settings: &Settings) {
        for field in fields {
            let Some(value) = settings.get(field.api) else {
                continue;
            };
            if matches!(field.absent, Absent::Is(default) if default == value) {
                continue;
            }
            let takes = |number| field.kind().is_some_and(|kind| kind.takes_int(number));
            match value.parse().is_ok_and(takes) {
                true => self.number(field.key, value),
                false => self.text(field.key, value),
            }
        }
    }

    fn backends(&mut self, backends: &[Backend]) {
        if backends.is_empty() {
            return;
        }
        self.out.push_str("backends = [\n");
        for backend in backends {
            let key = match backend.by_address {
                true => "eni_ip",
                false => "instance_id",
            };
            let instance = (self.quoted)(&backend.instance);
            let _ = write!(self.out, "  {{ {key} = {instance}");
            if let Some(port) = backend.port {
                let _ = write!(self.out, ", port = {port}");
            }
            if backend.weight != Weight::DEFAULT {
                let _ = write!(self.out, ", weight = {}", backend.weight);
            }
            self.out.push_str(" },\n");
        }
        self.out.push_str("]\n");
    }
}
