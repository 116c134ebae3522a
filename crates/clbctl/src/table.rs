//! Answers as tables.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value};

/// Fields of the envelope, which say nothing once a call has succeeded.
const ENVELOPE: &[&str] = &["code", "message", "codeDesc"];

/// A table without lines, its columns named in capitals.
#[must_use]
pub fn plain(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns.iter().map(|name| name.to_uppercase()));
    table
}

/// What a table prints, without blanks at the ends of its lines.
#[must_use]
pub fn text(table: &Table) -> String {
    let mut out = String::new();
    for line in table.lines() {
        // Each cell begins with a blank.
        out.push_str(line.strip_prefix(' ').unwrap_or(&line).trim_end());
        out.push('\n');
    }
    out
}

/// An answer for a terminal: single fields as `name: value`, arrays of objects as tables, what is
/// nested in their rows in tables of its own below.
#[must_use]
pub fn render(answer: &Value) -> String {
    let mut out = String::new();
    if let Some(fields) = answer.as_object() {
        object(fields, "", &mut out);
    }
    out
}

fn object(fields: &Map<String, Value>, path: &str, out: &mut String) {
    let shown = fields
        .iter()
        .filter(|(name, _)| !(path.is_empty() && ENVELOPE.contains(&name.as_str())));
    let (plain, nested): (Vec<_>, Vec<_>) = shown.partition(|(_, value)| is_plain(value));
    for (name, value) in plain {
        out.push_str(&format!("{path}{name}: {}\n", cell(value)));
    }
    for (name, value) in nested {
        match value {
            Value::Array(rows) if rows.is_empty() => out.push_str(&format!("{path}{name}: none\n")),
            Value::Array(rows) => rows_of(rows, &format!("{path}{name}"), out),
            Value::Object(fields) => object(fields, &format!("{path}{name}."), out),
            _ => {}
        }
    }
}

/// A table of rows, then the tables of what is nested in them.
fn rows_of(rows: &[Value], path: &str, out: &mut String) {
    let objects: Vec<&Map<String, Value>> = rows.iter().filter_map(Value::as_object).collect();
    // Rows may differ: a column for each name that any has, in the order of their first time.
    let mut columns: Vec<&str> = Vec::new();
    for (name, value) in objects.iter().flat_map(|row| row.iter()) {
        if is_plain(value) && !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&format!("{path}\n"));
    let mut table = plain(&columns);
    for row in &objects {
        table.add_row(
            columns
                .iter()
                .map(|name| row.get(*name).map(cell).unwrap_or_default()),
        );
    }
    out.push_str(&text(&table));
    for row in objects {
        let id = row_name(row);
        for (name, value) in row.iter().filter(|(_, value)| !is_plain(value)) {
            match value {
                Value::Array(rows) if rows.is_empty() => {}
                Value::Array(rows) => rows_of(rows, &format!("{path} {id} {name}"), out),
                Value::Object(fields) => object(fields, &format!("{path} {id} {name}."), out),
                _ => {}
            }
        }
    }
}

/// What a row is known by.
fn row_name(row: &Map<String, Value>) -> String {
    let is_id = |name: &&String| name.ends_with("Id");
    let name = row.keys().find(is_id).or_else(|| row.keys().next());
    name.and_then(|name| row.get(name))
        .map(cell)
        .unwrap_or_default()
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty() && items.iter().all(|item| !item.is_object()),
        Value::Object(_) => false,
        _ => true,
    }
}

/// A value in one cell; what would break its line is escaped.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().flat_map(shown).collect(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A character as a terminal may get it.
pub(crate) fn shown(letter: char) -> impl Iterator<Item = char> {
    let escaped: Vec<char> = match letter.is_control() {
        true => letter.escape_default().collect(),
        false => vec![letter],
    };
    escaped.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(json: &str) -> String {
        render(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn single_fields_and_rows() {
        let text = rendered(
            r#"{"code":0,"message":"","codeDesc":"Success","totalCount":2,"set":[
                {"loadBalancerId":"lb-a","vips":["10.0.0.1","10.0.0.2"],"n":1},
                {"loadBalancerId":"lb-b","vips":[],"n":22,"more":"x\u001by"}]}"#,
        );
        assert_eq!(
            text,
            "totalCount: 2\n\nset\nLOADBALANCERID  VIPS               N   MORE\n\
             lb-a            10.0.0.1 10.0.0.2  1\nlb-b                               22  x\\u{1b}y\n"
        );
        assert_eq!(
            rendered(r#"{"code":0,"totalCount":0,"set":[]}"#),
            "totalCount: 0\nset: none\n"
        );
    }

    #[test]
    fn nested_rows_are_tables_of_their_own() {
        let text = rendered(
            r#"{"code":0,"data":[{"listenerId":"lbl-a","rules":[{"locationId":"loc-a","backends":[{"ip":"1.1.1.1"}]}]}]}"#,
        );
        assert_eq!(
            text,
            "data\nLISTENERID\nlbl-a\n\ndata lbl-a rules\nLOCATIONID\nloc-a\n\n\
             data lbl-a rules loc-a backends\nIP\n1.1.1.1\n"
        );
    }
}
