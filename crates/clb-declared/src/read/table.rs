//! Taking values out of tables, one by one; what is wrong is told, and so is what nobody took.

use std::ops::Range;

use clb_actions::table::ParamKind;
use clb_model::Port;
use toml::de::DeValue;

use super::Report;
use crate::fields::{Absent, Field, Kinds};
use crate::shape::{Place, Redirect, Settings};

/// A table, its values taken out one by one.
pub(super) struct Table<'a> {
    pub(super) path: &'static str,
    pub(super) offset: usize,
    pub(super) values: Vec<Entry<'a>>,
    pub(super) known: Vec<&'static str>,
}

pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) offset: usize,
    pub(super) span: Range<usize>,
    pub(super) value: &'a DeValue<'a>,
}

pub(super) struct Reader<'a, 'r> {
    pub(super) text: &'a str,
    pub(super) report: Report<'r>,
    /// Those of the load balancer that is being read, each with where it stands.
    pub(super) redirects: Vec<(usize, Redirect)>,
}

impl<'t> Reader<'_, '_> {
    pub(super) fn tables(
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

    pub(super) fn place(&self, table: &Table<'_>) -> Place {
        Place::of(self.text, table.offset)
    }

    pub(super) fn bad(&mut self, table: &Table<'_>, entry: &Entry<'_>, allowed: &str) {
        let shown = self.text.get(entry.span.clone()).unwrap_or_default();
        let shown: String = shown.chars().take(80).collect();
        let message = format!("{}.{} = {shown}: must be {allowed}", table.path, entry.key);
        (self.report)(entry.span.start, message);
    }

    /// A value that a function takes, else a problem; none also when the key is not there.
    pub(super) fn take<T>(
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

    pub(super) fn required<T>(
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

    pub(super) fn word<T: Copy>(
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

    pub(super) fn port(&mut self, table: &mut Table<'t>, key: &'static str) -> Option<Port> {
        self.required(table, key, "an integer from 1 to 65535", port)
    }

    /// The settings that stand in the table, and the defaults of those that do not.
    pub(super) fn settings(
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

    pub(super) fn setting(
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
    pub(super) fn done(&mut self, table: &Table<'_>) {
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

    pub(super) fn nested(
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
}

/// What a parameter takes, as a file has it.
pub(super) fn allowed(kind: &ParamKind) -> String {
    match kind {
        ParamKind::TextEnum(words) => one_of(words.iter().copied()),
        kind => kind.allowed(),
    }
}

pub(super) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
    format!("one of {}", words.join(", "))
}

pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

pub(super) fn port(value: &DeValue<'_>) -> Option<Port> {
    Port::try_from(integer(value)?).ok()
}
