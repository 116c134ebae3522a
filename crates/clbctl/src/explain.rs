//! `clbctl explain`: which rule takes a request, and why the others do not.
//!
//! The rules are the gateway's, and what decides between them is what decides there
//! ([`clb_routing::Router::explain`]).

use std::net::IpAddr;

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command};
use clb_model::{DomainPattern, UrlPattern};
use clb_routing::Router;
use hyper::Uri;
use serde_json::{Value, json};

use crate::tree::{array, backend_line, instance_line, listener_line, number, rule_line, text};

/// Ports of URLs that name none.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// The subcommand.
#[must_use]
pub fn subcommand() -> Command {
    Command::new("explain")
        .about("Which rule takes a request, why the others do not, and which backends it may meet")
        .arg(
            Arg::new("url")
                .value_name("URL")
                .required(true)
                .help("As a client has it: http://www.example.com:8080/path"),
        )
        .arg(
            Arg::new("host").long("host").value_name("HOST").help(
                "Host that the request names; without it the URL's. Then the URL's may be a VIP",
            ),
        )
        .arg(
            Arg::new("load_balancer")
                .long("load-balancer")
                .value_name("ID")
                .help("Only this load balancer; without it all that have such a port"),
        )
}

/// A request as a listener gets it.
#[derive(Debug)]
pub struct Request {
    protocol: i64,
    port: u16,
    /// The Host field.
    host: String,
    target: String,
    /// The VIP, if the URL names one.
    vip: Option<IpAddr>,
    load_balancer: Option<String>,
}

impl Request {
    /// From a command line.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(matches: &ArgMatches) -> anyhow::Result<Self> {
        let url = matches
            .get_one::<String>("url")
            .cloned()
            .unwrap_or_default();
        let shape =
            "must be http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH, of ASCII characters";
        let bad = || format!("URL {url}: {shape}");
        let uri: Uri = url.parse().with_context(bad)?;
        let (protocol, default) = match uri.scheme_str() {
            Some("http") => (1, HTTP),
            Some("https") => (4, HTTPS),
            _ => anyhow::bail!(bad()),
        };
        let authority = uri.authority().with_context(bad)?;
        let name = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let given = matches.get_one::<String>("host");
        Ok(Self {
            protocol,
            port: authority.port_u16().unwrap_or(default),
            host: given.cloned().unwrap_or_else(|| authority.to_string()),
            target: uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
            vip: name.parse().ok(),
            load_balancer: matches.get_one::<String>("load_balancer").cloned(),
        })
    }

    fn is_at(&self, instance: &Value) -> bool {
        let id = text(instance, "loadBalancerId");
        let vips = array(instance, "loadBalancerVips");
        let mut vips = vips
            .iter()
            .filter_map(|vip| vip.as_str()?.parse::<IpAddr>().ok());
        self.load_balancer
            .as_ref()
            .is_none_or(|wanted| *wanted == id)
            && self.vip.is_none_or(|wanted| vips.any(|vip| vip == wanted))
    }

    fn is_for(&self, listener: &Value) -> bool {
        number(listener, "protocol") == self.protocol
            && number(listener, "loadBalancerPort") == i64::from(self.port)
    }

    /// What becomes of the request at each listener that could get it; what runs is as
    /// [`tree::read`](crate::tree::read) tells it.
    ///
    /// # Errors
    /// When no listener could, and when a rule can not be understood.
    pub fn explain(&self, instances: &[Value], as_json: bool) -> anyhow::Result<String> {
        let mut found = Vec::new();
        let mut out = String::new();
        for instance in instances.iter().filter(|instance| self.is_at(instance)) {
            for listener in array(instance, "listeners") {
                if !self.is_for(&listener) {
                    continue;
                }
                let at = At::new(self, instance, &listener)?;
                at.write(&mut out);
                found.push(at.json());
            }
        }
        if found.is_empty() {
            let protocol = if self.protocol == 1 { "HTTP" } else { "HTTPS" };
            let place = match (&self.load_balancer, self.vip) {
                (Some(id), _) => format!(" of {id}"),
                (None, Some(vip)) => format!(" at the VIP {vip}"),
                (None, None) => String::new(),
            };
            anyhow::bail!("no {protocol} listener{place} has port {}", self.port);
        }
        Ok(match as_json {
            true => format!("{}\n", Value::Array(found)),
            false => out,
        })
    }
}

/// What becomes of a request at a listener.
struct At<'a> {
    instance: &'a Value,
    listener: &'a Value,
    reasons: Vec<String>,
    rule: Option<Value>,
    backends: Vec<Value>,
}

impl<'a> At<'a> {
    fn new(request: &Request, instance: &'a Value, listener: &'a Value) -> anyhow::Result<Self> {
        if number(instance, "forward") == 0 {
            return Ok(Self {
                instance,
                listener,
                reasons: vec![
                    "a classic load balancer has no rules: every request goes to its backends"
                        .to_owned(),
                ],
                rule: None,
                backends: array(listener, "backends"),
            });
        }
        let rules = array(listener, "rules");
        let mut router = Router::new();
        for (order, rule) in (0..).zip(&rules) {
            let (domain, url) = (text(rule, "domain"), text(rule, "url"));
            let pattern = DomainPattern::parse(&domain).with_context(|| domain.clone())?;
            let path = UrlPattern::parse(&url).with_context(|| url.clone())?;
            router = router
                .with(&pattern, &path, order, ())
                .with_context(|| format!("rule {domain} {url}"))?;
        }
        let explanation = router.explain(request.host.as_bytes(), request.target.as_bytes());
        let rule = explanation.rule.as_ref().ok().and_then(|(domain, url)| {
            let is_it = |rule: &&Value| {
                text(rule, "domain") == domain.as_str() && text(rule, "url") == url.as_str()
            };
            rules.iter().find(is_it).cloned()
        });
        let mut reasons: Vec<String> = explanation.to_string().lines().map(str::to_owned).collect();
        let target = rule.as_ref().map(|rule| text(rule, "targetuLocationId"));
        if let Some(target) = target.filter(|target| !target.is_empty()) {
            reasons.push(format!("the rule is redirected to {target}: 302"));
        }
        Ok(Self {
            instance,
            listener,
            reasons,
            backends: rule
                .as_ref()
                .map(|rule| array(rule, "backends"))
                .unwrap_or_default(),
            rule,
        })
    }

    fn write(&self, out: &mut String) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!(
            "{}\n{}\n",
            instance_line(self.instance),
            listener_line(self.listener)
        ));
        for reason in &self.reasons {
            out.push_str(&format!("  {reason}\n"));
        }
        if let Some(rule) = &self.rule {
            out.push_str(&format!("{}\n", rule_line(rule)));
        }
        for backend in &self.backends {
            out.push_str(&format!("  {}\n", backend_line(backend)));
        }
    }

    fn json(&self) -> Value {
        json!({
            "loadBalancerId": text(self.instance, "loadBalancerId"),
            "listenerId": text(self.listener, "listenerId"),
            "locationId": self.rule.as_ref().map(|rule| text(rule, "locationId")),
            "reasons": self.reasons,
            "backends": self.backends,
        })
    }
}
