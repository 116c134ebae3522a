//! Prints docs/configuration.md.

#![allow(clippy::print_stdout)]

fn main() {
    print!("{}", clb_config::reference());
}
