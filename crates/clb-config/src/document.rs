//! From text to checked values by path.

use std::collections::BTreeMap;

use clb_declared::LoadBalancer;
use toml::de::{DeTable, DeValue};

use crate::keys::{ARRAYS, Availability, DECLARED, KEYS, Key, TABLES, find};
use crate::problems::Collector;
use crate::value::{Kind, Value};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) value: Value,
    pub(crate) offset: usize,
}

/// The values of one table: the root with its sections, or one element of an array.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    given: BTreeMap<&'static str, Placed>,
    /// Keys that stand in the table, also those whose value is of the wrong kind.
    mentioned: Vec<&'static str>,
    /// Where the table begins.
    pub(crate) offset: usize,
}

impl Values {
    /// What was given for a key.
    pub(crate) fn given(&self, path: &str) -> Option<&Placed> {
        self.given.get(path)
    }

    /// Whether a key stands in the table at all.
    pub(crate) fn is_mentioned(&self, path: &str) -> bool {
        self.mentioned.contains(&path)
    }

    /// Where a key's value stands; the table's place if it was not given.
    pub(crate) fn offset_of(&self, path: &str) -> usize {
        self.given(path).map_or(self.offset, |placed| placed.offset)
    }

    /// What was given, else the default.
    pub(crate) fn value(&self, path: &str) -> Option<Value> {
        match self.given(path) {
            Some(placed) => Some(placed.value.clone()),
            None => find(path).and_then(default_of),
        }
    }
}

/// The default of a key, read as if it stood in the file.
pub(crate) fn default_of(key: &Key) -> Option<Value> {
    let text = key.default?;
    let value = DeValue::parse(text).ok()?;
    key.kind.read(value.get_ref())
}

/// A document whose keys and values are of the right kind.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) root: Values,
    pub(crate) arrays: BTreeMap<&'static str, Vec<Values>>,
    pub(crate) load_balancers: Vec<LoadBalancer>,
}

/// Reads a document; what is wrong goes to `problems`.
pub(crate) fn read(text: &str, problems: &mut Collector) -> Document {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        problems.add(offset, error.message());
    }
    if !errors.is_empty() {
        // What a broken line does to its neighbours would only be noise.
        return Document::default();
    }
    let mut reader = Reader {
        text,
        problems,
        document: Document::default(),
    };
    reader.table("", table.get_ref());
    reader.document
}

struct Reader<'a> {
    text: &'a str,
    problems: &'a mut Collector,
    document: Document,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = join(prefix, name.get_ref());
            let offset = name.span().start;
            if let Some(section) = TABLES.iter().find(|section| **section == path) {
                match value.get_ref().as_table() {
                    Some(inner) => self.table(section, inner),
                    None => self
                        .problems
                        .add(offset, format!("{path}: must be a section [{path}]")),
                }
            } else if let Some(section) = ARRAYS.iter().copied().find(|section| *section == path) {
                self.array(section, offset, value.get_ref());
            } else if path == DECLARED {
                let problems = &mut *self.problems;
                let mut report = |offset, message: String| problems.add(offset, message);
                self.document.load_balancers = clb_declared::read::load_balancers(
                    self.text,
                    offset,
                    value.get_ref(),
                    &mut report,
                );
            } else if let Some(placed) =
                self.key(&path, prefix, offset, value.get_ref(), value.span())
            {
                self.document.root.given.insert(placed.0, placed.1);
            }
        }
    }

    fn array(&mut self, section: &'static str, offset: usize, value: &DeValue<'_>) {
        let Some(elements) = value.as_array() else {
            self.problems
                .add(offset, format!("{section}: must be sections [[{section}]]"));
            return;
        };
        for element in elements.iter() {
            let Some(table) = element.get_ref().as_table() else {
                self.problems.add(
                    element.span().start,
                    format!("{section}: must be sections [[{section}]]"),
                );
                continue;
            };
            let mut values = Values {
                offset: element.span().start,
                ..Values::default()
            };
            for (name, value) in table {
                let path = join(section, name.get_ref());
                values.mentioned.extend(find(&path).map(|key| key.path));
                let placed = self.key(
                    &path,
                    section,
                    name.span().start,
                    value.get_ref(),
                    value.span(),
                );
                values.given.extend(placed);
            }
            let missing = KEYS.iter().filter(|key| {
                key.default.is_none()
                    && key
                        .path
                        .rsplit_once('.')
                        .is_some_and(|(owner, _)| owner == section)
                    && !values.is_mentioned(key.path)
            });
            for key in missing {
                let message = format!(
                    "{}: is required and must be {}",
                    key.path,
                    key.kind.allowed()
                );
                self.problems.add(values.offset, message);
            }
            self.document
                .arrays
                .entry(section)
                .or_default()
                .push(values);
        }
    }

    fn key(
        &mut self,
        path: &str,
        section: &str,
        offset: usize,
        value: &DeValue<'_>,
        span: std::ops::Range<usize>,
    ) -> Option<(&'static str, Placed)> {
        let Some(key) = find(path) else {
            self.problems.add(
                offset,
                format!("{path}: unknown key{}", nearest(path, section)),
            );
            return None;
        };
        let offset = span.start;
        let shown = match key.kind {
            Kind::Secret => "(hidden)".to_owned(),
            _ => shorten(self.text.get(span).unwrap_or_default()),
        };
        let Some(value) = key.kind.read(value) else {
            self.problems.add(
                offset,
                format!("{path} = {shown}: must be {}", key.kind.allowed()),
            );
            return None;
        };
        if let Availability::Later(with) = key.availability
            && default_of(key).as_ref() != Some(&value)
        {
            let default = key.default.unwrap_or_default();
            self.problems.add(
                offset,
                format!(
                    "{path} = {shown}: not available yet, it comes with {with}; until then only its default {default} is accepted"
                ),
            );
            return None;
        }
        Some((key.path, Placed { value, offset }))
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The key or section that was probably meant.
fn nearest(path: &str, section: &str) -> String {
    let known = KEYS
        .iter()
        .map(|key| key.path)
        .chain(TABLES.iter().copied())
        .chain(ARRAYS.iter().copied())
        .chain([DECLARED]);
    let is_sibling = |known: &&str| match known.rsplit_once('.') {
        Some((owner, _)) => owner == section,
        None => section.is_empty(),
    };
    let best = known
        .filter(is_sibling)
        .map(|known| (strsim::damerau_levenshtein(path, known), known))
        .min();
    match best {
        Some((distance, known)) if distance <= 3 => format!("; did you mean {known}?"),
        _ if section.is_empty() => String::new(),
        _ => {
            let names: Vec<&str> = KEYS
                .iter()
                .filter_map(|key| key.path.rsplit_once('.'))
                .filter(|(owner, _)| *owner == section)
                .map(|(_, name)| name)
                .collect();
            format!("; [{section}] has {}", names.join(", "))
        }
    }
}
