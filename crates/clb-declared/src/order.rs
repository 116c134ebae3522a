//! Where the order of creation decides between rules, and which ones must be made anew to get it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clb_model::{DomainKind, DomainPattern, UrlModifier, UrlPattern};

use crate::shape::{Rule, RuleKey};

/// Among what a rule's place in the order of creation counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    /// Domains that are regular expressions.
    Regexes,
    /// Domains that mean the same, such as `.x` and `*.x`.
    Same(String),
    /// Urls of a domain that are regular expressions.
    Urls(String),
    /// Urls of a domain that mean the same, such as `/x` and `^~ /x`.
    SameUrl(String, String),
}

fn of_domain(domain: &DomainPattern) -> Option<Group> {
    let key = domain.key();
    match domain.kind() {
        DomainKind::Regex => Some(Group::Regexes),
        DomainKind::Suffix => Some(Group::Same(key.trim_start_matches('.').to_owned())),
        DomainKind::WildcardStart => Some(Group::Same(key.trim_start_matches("*.").to_owned())),
        DomainKind::Exact | DomainKind::WildcardEnd => None,
    }
}

fn of_url(domain: &DomainPattern, url: &UrlPattern) -> Option<Group> {
    match url.modifier() {
        UrlModifier::Regex | UrlModifier::RegexNoCase => Some(Group::Urls(domain.key())),
        UrlModifier::Prefix | UrlModifier::PrefixNoRegex => {
            Some(Group::SameUrl(domain.key(), url.expression().to_owned()))
        }
        UrlModifier::Exact => None,
    }
}

/// The orders that count: of domains by their first rules, of urls within their domains.
fn orders<'a>(rules: impl Iterator<Item = &'a Rule>) -> HashMap<Group, Vec<String>> {
    let mut orders: HashMap<Group, Vec<String>> = HashMap::new();
    for rule in rules {
        if let Some(group) = of_domain(&rule.domain) {
            let order = orders.entry(group).or_default();
            let key = rule.domain.key();
            if !order.contains(&key) {
                order.push(key);
            }
        }
        if let Some(group) = of_url(&rule.domain, &rule.url) {
            orders.entry(group).or_default().push(rule.url.key());
        }
    }
    orders
}

/// The running rules that must be made anew so that, what is wanted and missing being made after
/// them in the order of the file, the order of creation decides as the file's order does.
pub(crate) fn made_anew(running: &[Rule], wanted: &[Rule]) -> BTreeSet<RuleKey> {
    let wanted_keys: BTreeSet<RuleKey> = wanted.iter().map(Rule::key).collect();
    let kept = running
        .iter()
        .filter(|rule| wanted_keys.contains(&rule.key()));
    let there = orders(kept);
    let mut anew = BTreeSet::new();
    let mut domains_anew: BTreeSet<String> = BTreeSet::new();
    let mut urls_anew: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (group, order) in orders(wanted.iter()) {
        let Some(there) = there.get(&group) else {
            continue;
        };
        // What is made comes last, so that only the beginning of the order can be what is there.
        let same = there.iter().zip(&order).take_while(|(a, b)| a == b).count();
        let late = there.iter().skip(same);
        match &group {
            Group::Regexes | Group::Same(_) => domains_anew.extend(late.cloned()),
            Group::Urls(domain) | Group::SameUrl(domain, _) => {
                urls_anew
                    .entry(domain.clone())
                    .or_default()
                    .extend(late.cloned());
            }
        }
    }
    for key in running.iter().map(Rule::key) {
        let late_url = urls_anew
            .get(&key.0)
            .is_some_and(|urls| urls.contains(&key.1));
        if late_url || domains_anew.contains(&key.0) {
            anew.insert(key);
        }
    }
    anew
}
