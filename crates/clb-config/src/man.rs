//! The manual page clb.toml(5), made from the table of keys.

use std::fmt::Write as _;

use crate::keys::{Availability, KEYS};
use crate::reference::title;

/// The text of deploy/man/clb.toml.5, for man(7).
#[must_use]
pub fn man_page() -> String {
    let mut text = String::from(
        ".\\\" Made by: cargo run -p clb-config --example reference -- man\n\
         .TH clb.toml 5 \"\" clbd \"File formats\"\n\
         .SH NAME\n\
         clb.toml \\- configuration of the clbd load balancer\n\
         .SH DESCRIPTION\n\
         The file that\n.BR clbd (8)\nis started with, in TOML. Unknown keys are errors; paths are relative to the \
         file's folder.\n\
         .B clbd \\-\\-config\n.I FILE\n.B \\-\\-check\nprints every problem with its place. SIGHUP re-reads the \
         file without dropping a connection; what needs a restart is said then.\n\
         .PP\n\
         Load balancers can be declared in\n.B [[load_balancers]]\nwith the Action API's parameters in snake_case; \
         what runs is printed in this form by\n.BR \"clbctl export\" .\n",
    );
    let mut section = None;
    for key in KEYS {
        let (owner, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if section != Some(owner) {
            section = Some(owner);
            let _ = writeln!(text, ".SH \"{}\"", title(owner));
        }
        let default = match key.default {
            None => "required".to_owned(),
            Some("\"-\"") => "default: none".to_owned(),
            Some(default) => format!("default: {default}"),
        };
        let when = match key.availability {
            Availability::Now => String::new(),
            Availability::Later(with) => format!(" Later, with {with}."),
        };
        let _ = writeln!(
            text,
            ".TP\n.B {}\n{}\nAllowed: {}; {}.",
            escaped(name),
            escaped(&format!("{}{when}", key.meaning)),
            escaped(&key.kind.allowed()),
            escaped(&default)
        );
    }
    text.push_str(".SH \"SEE ALSO\"\n.BR clbd (8),\n.BR clbctl (1)\n");
    text
}

/// As text that no macro is seen in.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}
