//! From TOML to what is declared; what is wrong is told with its place.

mod table;

use std::collections::HashMap;
use std::net::IpAddr;

use clb_model::{
    DomainPattern, Family, LoadBalancerType, PATTERN_CHARS, Protocol, UrlPattern, Weight,
};
use toml::de::{DeTable, DeValue};

use self::table::{Reader, Table, integer, one_of, port};
use crate::fields::{Kinds, LISTENER, LOAD_BALANCER, RULE};
use crate::plan::find;
use crate::shape::{Backend, Listener, LoadBalancer, Place, Redirect, Rule, RuleKey};

const ROOT: &str = "load_balancers";
const LISTENERS: &str = "load_balancers.listeners";
const RULES: &str = "load_balancers.listeners.rules";

/// Takes what is wrong: the octet of the text where it stands, and a sentence.
pub type Report<'a> = &'a mut dyn FnMut(usize, String);

/// Reads a file that has nothing but `[[load_balancers]]`.
///
/// # Errors
/// Each problem with its place.
pub fn parse(text: &str) -> Result<Vec<LoadBalancer>, Vec<(Place, String)>> {
    let mut problems = Vec::new();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        problems.push((offset, error.message().to_owned()));
    }
    let mut found = Vec::new();
    if errors.is_empty() {
        let mut report = |offset, message| problems.push((offset, message));
        for (name, value) in table.get_ref() {
            if name.get_ref() == ROOT {
                found = load_balancers(text, value.span().start, value.get_ref(), &mut report);
            } else {
                let message = format!("{}: only [[{ROOT}]] can stand here", name.get_ref());
                report(name.span().start, message);
            }
        }
    }
    if problems.is_empty() {
        return Ok(found);
    }
    problems.sort_by_key(|(offset, _)| *offset);
    let placed = problems.into_iter().map(|(offset, message)| {
        let message = message.trim().replace('\n', "; ");
        (Place::of(text, offset), message)
    });
    Err(placed.collect())
}

/// Reads the value of `load_balancers`; what is wrong goes to `report`, and what is returned then is
/// not to be used.
pub fn load_balancers(
    text: &str,
    offset: usize,
    value: &DeValue<'_>,
    report: Report<'_>,
) -> Vec<LoadBalancer> {
    let mut reader = Reader {
        text,
        report,
        redirects: Vec::new(),
    };
    let mut found: Vec<LoadBalancer> = Vec::new();
    let mut names: HashMap<String, Place> = HashMap::new();
    for mut table in reader.tables(ROOT, offset, value) {
        let Some(one) = reader.load_balancer(&mut table) else {
            continue;
        };
        if let Some(first) = names.insert(one.name.clone(), one.place) {
            let message = format!(
                "{ROOT}.name = {:?}: line {} has this name already",
                one.name, first.line
            );
            (reader.report)(table.offset, message);
        }
        found.push(one);
    }
    found
}

impl<'t> Reader<'_, '_> {
    fn load_balancer(&mut self, table: &mut Table<'t>) -> Option<LoadBalancer> {
        let place = self.place(table);
        let name_kind = clb_actions::table::ActionSpec::find("CreateLoadBalancer")
            .and_then(|action| {
                action
                    .params
                    .iter()
                    .find(|param| param.name == "loadBalancerName")
            })
            .map(|param| param.kind)?;
        let name = self.required(table, "name", &name_kind.allowed(), |value| {
            let name = value.as_str().filter(|name| name_kind.takes_text(name))?;
            Some(name.to_owned())
        });
        let types = [
            ("public", LoadBalancerType::Public),
            ("private", LoadBalancerType::Private),
        ];
        let network = self.word(table, "type", &types);
        let families = [
            ("classic", Family::Classic),
            ("application", Family::Application),
        ];
        let family = self
            .word(table, "forward", &families)
            .unwrap_or(Family::Classic);
        let vip = self.take(table, "vip", "an IP address", |value| {
            value.as_str()?.parse::<IpAddr>().ok()
        });
        let settings = self.settings(table, LOAD_BALANCER, None);
        let mut listeners: Vec<Listener> = Vec::new();
        for mut inner in self.nested(table, "listeners", LISTENERS) {
            let Some(listener) = self.listener(&mut inner, family) else {
                continue;
            };
            let taken = listeners
                .iter()
                .find(|other| other.same_port(&listener, family));
            if let Some(taken) = taken {
                let message = format!(
                    "{LISTENERS}.load_balancer_port = {}: the listener of line {} has this port",
                    listener.port, taken.place.line
                );
                (self.report)(inner.offset, message);
            }
            listeners.push(listener);
        }
        let backends = match family {
            Family::Classic => self.backends(table, "load_balancers.backends", false),
            Family::Application => Vec::new(),
        };
        self.done(table);
        self.check_redirects(&listeners);
        Some(LoadBalancer {
            place,
            id: String::new(),
            name: name?,
            network: network.unwrap_or(LoadBalancerType::Public),
            family,
            vip,
            settings,
            listeners,
            backends,
        })
    }

    /// What they lead to is declared, too.
    fn check_redirects(&mut self, listeners: &[Listener]) {
        for (offset, to) in std::mem::take(&mut self.redirects) {
            if find(listeners, to.port.get(), &to.key()).is_none() {
                let message = format!(
                    "{RULES}.rewrite_port = {}: this load balancer has no rule {} {} at that port",
                    to.port,
                    to.domain.as_str(),
                    to.url.as_str()
                );
                (self.report)(offset, message);
            }
        }
    }

    fn listener(&mut self, table: &mut Table<'t>, family: Family) -> Option<Listener> {
        let place = self.place(table);
        let protocols = [
            ("http", Protocol::Http),
            ("https", Protocol::Https),
            ("tcp", Protocol::Tcp),
            ("udp", Protocol::Udp),
        ];
        let allowed = one_of(protocols.iter().map(|(word, _)| *word));
        let protocol = self.required(table, "protocol", &allowed, |value| {
            let found = protocols
                .iter()
                .find(|(word, _)| Some(*word) == value.as_str());
            found.map(|(_, protocol)| *protocol)
        });
        let port = self.port(table, "load_balancer_port");
        // Without a protocol nothing can be said of the other keys.
        let protocol = protocol?;
        let settings = self.settings(table, LISTENER, Some(Kinds::of(family, protocol)));
        let (mut rules, mut backends) = (Vec::new(), Vec::new());
        match (family, protocol.is_layer7()) {
            (Family::Application, true) => rules = self.rules(table),
            (Family::Application, false) => {
                backends = self.backends(table, "load_balancers.listeners.backends", true);
            }
            (Family::Classic, _) => {}
        }
        self.done(table);
        Some(Listener {
            place,
            id: String::new(),
            protocol,
            port: port?,
            settings,
            rules,
            backends,
        })
    }

    fn rules(&mut self, table: &mut Table<'t>) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut keys: HashMap<RuleKey, Place> = HashMap::new();
        for mut inner in self.nested(table, "rules", RULES) {
            let Some(rule) = self.rule(&mut inner) else {
                continue;
            };
            if let Some(first) = keys.insert(rule.key(), rule.place) {
                let message = format!(
                    "{RULES}: line {} has a rule with this domain and url",
                    first.line
                );
                (self.report)(inner.offset, message);
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, table: &mut Table<'t>) -> Option<Rule> {
        let place = self.place(table);
        let allowed =
            format!("1 to {PATTERN_CHARS} characters: a domain, *.x, x.* or ~ and an expression");
        let domain = self.required(table, "domain", &allowed, domain);
        let allowed = format!(
            "1 to {PATTERN_CHARS} characters: a path, with =, ^~, ~ or ~* before it or not"
        );
        let url = self.required(table, "url", &allowed, url);
        let settings = self.settings(table, RULE, None);
        let rewrite_port = self.take(table, "rewrite_port", "an integer from 1 to 65535", port);
        let rewrite_domain = self.take(table, "rewrite_domain", "a rule's domain", self::domain);
        let rewrite_url = self.take(table, "rewrite_url", "a rule's url", self::url);
        let backends = self.backends(table, "load_balancers.listeners.rules.backends", true);
        self.done(table);
        let (domain, url) = (domain?, url?);
        let redirect = match rewrite_port {
            Some(port) => Some(Redirect {
                port,
                domain: rewrite_domain.unwrap_or_else(|| domain.clone()),
                url: rewrite_url.unwrap_or_else(|| url.clone()),
            }),
            None if rewrite_domain.is_some() || rewrite_url.is_some() => {
                let message = format!("{RULES}: rewrite_domain and rewrite_url need rewrite_port");
                (self.report)(table.offset, message);
                None
            }
            None => None,
        };
        let placed = redirect.clone().map(|to| (table.offset, to));
        self.redirects.extend(placed);
        Some(Rule {
            place,
            id: String::new(),
            domain,
            url,
            settings,
            redirect,
            backends,
        })
    }

    fn backends(
        &mut self,
        table: &mut Table<'t>,
        path: &'static str,
        with_port: bool,
    ) -> Vec<Backend> {
        let mut backends: Vec<Backend> = Vec::new();
        for mut inner in self.nested(table, "backends", path) {
            let Some(backend) = self.backend(&mut inner, with_port) else {
                continue;
            };
            if backends.iter().any(|other| other.key() == backend.key()) {
                let message = format!("{path}: {} stands here twice", backend.instance);
                (self.report)(inner.offset, message);
            }
            backends.push(backend);
        }
        backends
    }

    fn backend(&mut self, table: &mut Table<'t>, with_port: bool) -> Option<Backend> {
        let place = self.place(table);
        let instance = self.take(
            table,
            "instance_id",
            "the id of one of [[instances]], or an IP address",
            |value| {
                let text = value.as_str()?;
                let is_clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
                (!text.is_empty() && is_clean && text.chars().count() <= 255)
                    .then(|| text.to_owned())
            },
        );
        let address = match with_port {
            true => self.take(table, "eni_ip", "an IP address", |value| {
                value.as_str()?.parse::<IpAddr>().ok()
            }),
            false => None,
        };
        let port = match with_port {
            true => Some(self.port(table, "port")?),
            false => None,
        };
        let weight = self.take(table, "weight", "an integer from 0 to 100", |value| {
            Weight::try_from(integer(value)?).ok()
        });
        self.done(table);
        let (instance, by_address) = match (instance, address) {
            (Some(instance), None) => (instance, false),
            (None, Some(address)) => (address.to_string(), true),
            _ => {
                let one = match with_port {
                    true => "one of instance_id and eni_ip",
                    false => "instance_id",
                };
                (self.report)(table.offset, format!("{}: {one} is required", table.path));
                return None;
            }
        };
        Some(Backend {
            place,
            instance,
            by_address,
            port,
            weight: weight.unwrap_or(Weight::DEFAULT),
        })
    }
}

fn domain(value: &DeValue<'_>) -> Option<DomainPattern> {
    DomainPattern::parse(value.as_str()?).ok()
}

fn url(value: &DeValue<'_>) -> Option<UrlPattern> {
    UrlPattern::parse(value.as_str()?).ok()
}
