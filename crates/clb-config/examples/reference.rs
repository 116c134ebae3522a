//! Prints docs/configuration.md, or with the argument `man` the manual page.

#![allow(clippy::print_stdout)]

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("man") => print!("{}", clb_config::man_page()),
        _ => print!("{}", clb_config::reference()),
    }
}
