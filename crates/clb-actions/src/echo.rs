//! What of a caller's text may stand in a message: cut, and free of characters that would break
//! a log line or a terminal.

use std::fmt::Write as _;

/// Longest piece of a caller's text that a message repeats, in characters.
pub const ECHO_CHARACTERS: usize = 64;

/// `text` as a message may repeat it: at most [`ECHO_CHARACTERS`] characters, an ellipsis when
/// something was cut, control characters and invisible direction marks escaped as `\u{…}`.
#[must_use]
pub fn echo(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(ECHO_CHARACTERS * 4));
    let mut characters = text.chars();
    for character in characters.by_ref().take(ECHO_CHARACTERS) {
        if is_unprintable(character) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_printable_text_is_repeated_as_it_is() {
        assert_eq!(echo("lb-abcdefgh"), "lb-abcdefgh");
        assert_eq!(echo("负载均衡"), "负载均衡");
    }

    #[test]
    fn long_text_is_cut_at_64_characters() {
        let exact = "é".repeat(64);
        assert_eq!(echo(&exact), exact);
        assert_eq!(echo(&"é".repeat(65)), format!("{exact}…"));
    }

    #[test]
    fn characters_that_break_lines_are_escaped() {
        assert_eq!(echo("a\r\nb\u{1b}[31m"), "a\\r\\nb\\u{1b}[31m");
        assert_eq!(echo("\u{202e}evil"), "\\u{202e}evil");
    }

    proptest! {
        #[test]
        fn no_control_character_gets_through(text in any::<String>()) {
            prop_assert!(!echo(&text).chars().any(char::is_control));
        }
    }
}
