//! docs/configuration.md, made from the table of keys.

use std::fmt::Write as _;

use crate::keys::{ARRAYS, Availability, KEYS, LATER_ARRAYS};

/// The text of docs/configuration.md.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration reference\n\n\
         Every key of clb.toml. This page is made from the program's own table of keys: \
         `cargo run -p clb-config --example reference > docs/configuration.md`.\n\n\
         Unknown keys are errors. Paths are relative to the file's folder. `clbd --config FILE \
         --check` prints every problem with its place. SIGHUP re-reads the file without dropping a \
         connection; `state_dir`, `api.listen`, `api.tls`, `admin.listen`, `workers.count`, \
         `limits.persistence_entries`, `store.key_file`, `store.audit_entries` and `log.format` need a restart.\n\n\
         A key that is \"later\" is known, but its feature is not available yet: only its default is \
         accepted.\n",
    );
    let mut section = None;
    for key in KEYS {
        let (owner, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if section != Some(owner) {
            section = Some(owner);
            let title = match owner {
                "" => "Top level".to_owned(),
                owner if ARRAYS.contains(&owner) => format!("[[{owner}]]"),
                owner => format!("[{owner}]"),
            };
            let _ = write!(
                text,
                "\n## {title}\n\n| key | allowed | default | meaning |\n|---|---|---|---|\n"
            );
        }
        let default = match (key.default, key.path) {
            (None, _) => "required".to_owned(),
            (
                _,
                "api.keys.secret_key"
                | "api.keys.secret_key_file"
                | "certificates.key"
                | "store.key_file",
            ) => "none".to_owned(),
            (Some(default), _) => format!("`{default}`"),
        };
        let when = match key.availability {
            Availability::Now => String::new(),
            Availability::Later(with) => format!(" *Later, with {with}.*"),
        };
        let allowed = key.kind.allowed();
        let _ = writeln!(
            text,
            "| `{name}` | {allowed} | {default} | {}{when} |",
            key.meaning
        );
    }
    text.push_str("\n## Later sections\n\n");
    for (name, with) in LATER_ARRAYS {
        let _ = writeln!(
            text,
            "- `[[{name}]]` comes with {with}; it is refused until then."
        );
    }
    text
}
