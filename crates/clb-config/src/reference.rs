//! docs/configuration.md, made from the table of keys.

use std::fmt::Write as _;

use clb_declared::fields::{Absent, Field, LISTENER, LOAD_BALANCER, RULE};

use crate::keys::{ARRAYS, Availability, KEYS};

/// The text of docs/configuration.md.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration reference\n\n\
         Every key of clb.toml. This page is made from the program's own table of keys: \
         `cargo run -p clb-config --example reference > docs/configuration.md`.\n\n\
         Unknown keys are errors. Paths are relative to the file's folder. `clbd --config FILE \
         --check` prints every problem with its place. SIGHUP re-reads the file without dropping a \
         connection; `api.listen`, `api.tls`, `admin.listen`, \
         `limits.persistence_entries`, `limits.access_log_ring`, `tracing.otlp`, `store.key_file`, `store.audit_entries` and `log.format` need a restart or SIGUSR2, `state_dir` and `workers.count` a restart.\n\n\
         A key that is \"later\" is known, but its feature is not available yet: only its default is \
         accepted.\n",
    );
    let mut section = None;
    for key in KEYS {
        let (owner, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if section != Some(owner) {
            section = Some(owner);
            let title = title(owner);
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
    declared(&mut text);
    text
}

/// What a section is called.
pub(crate) fn title(owner: &str) -> String {
    match owner {
        "" => "Top level".to_owned(),
        owner if ARRAYS.contains(&owner) => format!("[[{owner}]]"),
        owner => format!("[{owner}]"),
    }
}

const DECLARED: &str = "
## Declared load balancers

`[[load_balancers]]` declares load balancers; the keys are the API's parameters in snake_case, and take \
what the API takes. At the start and on SIGHUP each one that is new, or whose declaration has changed, \
is brought to what the file says, by the same Actions as the API's: listeners, rules and backends that \
the file does not have are deleted. What has not changed in the file is left as the API made it, and \
what the file no longer declares is deleted. `--check` prints what would be done.

A load balancer that is there already is taken over when it has the declared `vip`, or else the \
declared name. `clbctl export` writes what runs in this form.

";

/// Title; keys that are written out here; keys of the table.
type Section = (&'static str, &'static [[&'static str; 4]], &'static [Field]);

const SECTIONS: &[Section] = &[
    (
        "[[load_balancers]]",
        &[
            [
                "name",
                "1 to 50 letters, digits, '-' or '_'",
                "required",
                "What the file knows it by; another one means another load balancer.",
            ],
            [
                "type",
                "one of \"public\", \"private\"",
                "`\"public\"`",
                "From which of [vips] its address is. Another one means a new load balancer.",
            ],
            [
                "forward",
                "one of \"classic\", \"application\"",
                "`\"classic\"`",
                "classic: backends belong to the load balancer; application: to TCP and UDP listeners, and to the rules of HTTP and HTTPS ones. Another one means a new load balancer.",
            ],
            [
                "vip",
                "an IP address",
                "the next free one",
                "Its address. Another one means a new load balancer.",
            ],
            [
                "backends",
                "tables `{ instance_id, weight }`",
                "none",
                "Classic only: its backends.",
            ],
        ],
        LOAD_BALANCER,
    ),
    (
        "[[load_balancers.listeners]]",
        &[
            [
                "protocol",
                "one of \"http\", \"https\", \"tcp\", \"udp\"",
                "required",
                "Another one means a new listener.",
            ],
            [
                "load_balancer_port",
                "an integer from 1 to 65535",
                "required",
                "Port of the VIP.",
            ],
            [
                "backends",
                "tables `{ instance_id, port, weight }`",
                "none",
                "Application-based TCP and UDP listeners: their backends; `eni_ip` names one by its address.",
            ],
        ],
        LISTENER,
    ),
    (
        "[[load_balancers.listeners.rules]]",
        &[
            [
                "domain",
                "1 to 80 characters: a domain, `*.x`, `x.*` or `~` and an expression",
                "required",
                "Domain. The order of the file is the order of regular expressions.",
            ],
            [
                "url",
                "1 to 80 characters: a path, with `=`, `^~`, `~` or `~*` before it or not",
                "required",
                "Path.",
            ],
            [
                "rewrite_port",
                "an integer from 1 to 65535",
                "none",
                "The rule is redirected to a rule of the listener at this port.",
            ],
            [
                "rewrite_domain",
                "a rule's domain",
                "the rule's own",
                "Domain of that rule.",
            ],
            [
                "rewrite_url",
                "a rule's url",
                "the rule's own",
                "Path of that rule.",
            ],
            [
                "backends",
                "tables `{ instance_id, port, weight }`",
                "none",
                "Its backends; `eni_ip` names one by its address; weight is 10.",
            ],
        ],
        RULE,
    ),
];

fn declared(text: &mut String) {
    text.push_str(DECLARED);
    for (title, own, fields) in SECTIONS {
        let _ = write!(
            text,
            "### {title}\n\n| key | allowed | default | meaning |\n|---|---|---|---|\n"
        );
        for [key, allowed, default, meaning] in *own {
            let _ = writeln!(text, "| `{key}` | {allowed} | {default} | {meaning} |");
        }
        for field in *fields {
            let allowed = field.kind().map(|kind| kind.allowed()).unwrap_or_default();
            let default = match field.absent {
                Absent::Required => "required".to_owned(),
                Absent::Is("") => "none".to_owned(),
                Absent::Is(value) if value.parse::<i64>().is_ok() => format!("`{value}`"),
                Absent::Is(value) => format!("`{value:?}`"),
                Absent::Kept | Absent::Unset => "see there".to_owned(),
            };
            let only = match field.words() {
                "" => String::new(),
                words => format!(" Only for {words}."),
            };
            let _ = writeln!(
                text,
                "| `{}` | {allowed} | {default} | {}{only} |",
                field.key, field.meaning
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}
