//! From TOML to what is declared; what is wrong is told with its place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use clb_actions::table::ParamKind;
use clb_model::{
    DomainPattern, Family, LoadBalancerType, PATTERN_CHARS, Port, Protocol, UrlPattern, Weight,
};
use toml::de::{DeTable, DeValue};

use crate::fields::{Absent, Field, Kinds, LISTENER, LOAD_BALANCER, RULE};
use crate::plan::find;
use crate::shape::{Backend, Listener, LoadBalancer, Place, Redirect, Rule, RuleKey, Settings};

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

/// A table, its values taken out one by one.
struct Table<'a> {
    path: &'static str,
    offset: usize,
    values: Vec<Entry<'a>>,
    known: Vec<&'static str>,
}

struct Entry<'a> {
    key: &'a str,
    offset: usize,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

struct Reader<'a, 'r> {
    text: &'a str,
    report: Report<'r>,
    /// Those of the load balancer that is being read, each with where it stands.
    redirects: Vec<(usize, Redirect)>,
}

impl<'t> Reader<'_, '_> {
    fn tables(
        &mut self,
        path: &'static str,
        offset: usize,
        value: &'t DeValue<'t>,
    ) -> Vec<Table<'t>> {
        let Some(array) = value.as_array() else {
            (self.report)(offset, format!("{path}: must be tables [[{path}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in array.iter() {
            let offset = element.span().start;
            let Some(table) = element.get_ref().as_table() else {
                (self.report)(offset, format!("{path}: must be tables [[{path}]]"));
                continue;
            };
            let values = table.iter().map(|(name, value)| Entry {
                key: name.get_ref(),
                offset: name.span().start,
                span: value.span(),
                value: value.get_ref(),
            });
            tables.push(Table {
                path,
                offset,
                values: values.collect(),
                known: Vec::new(),
            });
        }
        tables
    }

    fn place(&self, table: &Table<'_>) -> Place {
        Place::of(self.text, table.offset)
    }

    fn bad(&mut self, table: &Table<'_>, entry: &Entry<'_>, allowed: &str) {
        let shown = self.text.get(entry.span.clone()).unwrap_or_default();
        let shown: String = shown.chars().take(80).collect();
        let message = format!("{}.{} = {shown}: must be {allowed}", table.path, entry.key);
        (self.report)(entry.span.start, message);
    }

    /// A value that a function takes, else a problem; none also when the key is not there.
    fn take<T>(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        table.known.push(key);
        let at = table.values.iter().position(|entry| entry.key == key)?;
        let entry = table.values.swap_remove(at);
        let value = read(entry.value);
        if value.is_none() {
            self.bad(table, &entry, allowed);
        }
        value
    }

    fn required<T>(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        if !table.values.iter().any(|entry| entry.key == key) {
            let message = format!("{}.{key}: is required and must be {allowed}", table.path);
            (self.report)(table.offset, message);
        }
        self.take(table, key, allowed, read)
    }

    fn word<T: Copy>(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let allowed = one_of(words.iter().map(|(word, _)| *word));
        self.take(table, key, &allowed, |value| {
            let found = words.iter().find(|(word, _)| Some(*word) == value.as_str());
            found.map(|(_, value)| *value)
        })
    }

    fn port(&mut self, table: &mut Table<'t>, key: &'static str) -> Option<Port> {
        self.required(table, key, "an integer from 1 to 65535", port)
    }

    /// The settings that stand in the table, and the defaults of those that do not.
    fn settings(
        &mut self,
        table: &mut Table<'t>,
        fields: &'static [Field],
        kind: Option<Kinds>,
    ) -> Settings {
        let mut settings = Settings::new();
        for field in fields {
            let is_for = kind.is_none_or(|kind| field.is_for(kind));
            if is_for || !table.values.iter().any(|entry| entry.key == field.key) {
                self.setting(table, field, is_for, &mut settings);
                continue;
            }
            table.known.push(field.key);
            if let Some(at) = table.values.iter().position(|entry| entry.key == field.key) {
                let entry = table.values.swap_remove(at);
                let message = format!(
                    "{}.{}: is only for {}",
                    table.path,
                    field.key,
                    field.kinds.words()
                );
                (self.report)(entry.offset, message);
            }
        }
        settings
    }

    fn setting(
        &mut self,
        table: &mut Table<'t>,
        field: &Field,
        is_for: bool,
        settings: &mut Settings,
    ) {
        let Some(kind) = field.kind() else {
            return;
        };
        let read = |value: &DeValue<'_>| match value {
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
                // A network is a number or a name.
                let as_text = number.to_string();
                (kind.takes_int(number) || kind.takes_text(&as_text) && field.api == "vpcId")
                    .then_some(as_text)
            }
            DeValue::String(text) => kind.takes_text(text).then(|| text.to_string()),
            _ => None,
        };
        let allowed = allowed(&kind);
        let given = match (field.absent, is_for) {
            (Absent::Required, true) => self.required(table, field.key, &allowed, read),
            _ => self.take(table, field.key, &allowed, read),
        };
        match (given, field.absent) {
            (Some(given), _) => drop(settings.insert(field.api, given)),
            (None, Absent::Is(value)) if is_for => {
                settings.insert(field.api, value.to_owned());
            }
            _ => {}
        }
    }

    /// What nobody took is unknown.
    fn done(&mut self, table: &Table<'_>) {
        for entry in &table.values {
            let near = table
                .known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, entry.key), *known))
                .min();
            let hint = match near {
                Some((distance, known)) if distance <= 3 => format!("; did you mean {known}?"),
                _ => format!("; there are {}", table.known.join(", ")),
            };
            let message = format!("{}.{}: unknown key{hint}", table.path, entry.key);
            (self.report)(entry.offset, message);
        }
    }

    fn nested(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        path: &'static str,
    ) -> Vec<Table<'t>> {
        table.known.push(key);
        let Some(at) = table.values.iter().position(|entry| entry.key == key) else {
            return Vec::new();
        };
        let entry = table.values.swap_remove(at);
        self.tables(path, entry.offset, entry.value)
    }

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

/// What a parameter takes, as a file has it.
fn allowed(kind: &ParamKind) -> String {
    match kind {
        ParamKind::TextEnum(words) => one_of(words.iter().copied()),
        kind => kind.allowed(),
    }
}

fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
    format!("one of {}", words.join(", "))
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn port(value: &DeValue<'_>) -> Option<Port> {
    Port::try_from(integer(value)?).ok()
}

fn domain(value: &DeValue<'_>) -> Option<DomainPattern> {
    DomainPattern::parse(value.as_str()?).ok()
}

fn url(value: &DeValue<'_>) -> Option<UrlPattern> {
    UrlPattern::parse(value.as_str()?).ok()
}
