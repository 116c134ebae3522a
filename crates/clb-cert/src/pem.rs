//! The blocks of a PEM text (RFC 7468), with the line of everything that is wrong.
//!
//! Our own reader, because the ones of the libraries skip what they do not know and say neither
//! line nor block. Blanks around lines are passed over (actions.md C.7: the document's example is
//! indented), and so is explanatory text before a block, as RFC 7468 section 2 asks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{PemError, PemFault};

/// Longest text that is taken, in bytes (actions.md A.5).
pub const MAX_PEM_BYTES: usize = 64 * 1024;

/// Labels that PEM files have. Others are not repeated in messages: what stands there may be a
/// piece of a key.
const LABELS: &[&str] = &[
    "CERTIFICATE",
    "X509 CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    "X509 CRL",
    "PKCS7",
    "CMS",
    "PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "DSA PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "EC PARAMETERS",
    "DH PARAMETERS",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
];

/// One block. Its content is wiped when it is dropped, for it may be a key.
pub(crate) struct Block {
    /// A label of [`LABELS`], or `"(unknown)"`.
    pub label: &'static str,
    /// The line of its BEGIN, counted from 1.
    pub line: usize,
    /// Says `Proc-Type: 4,ENCRYPTED` (RFC 1421 4.6.1.1); its content is not decoded then.
    pub is_encrypted: bool,
    pub der: Zeroizing<Vec<u8>>,
}

/// The block that is being read.
struct Open {
    label: String,
    line: usize,
    number: usize,
    is_encrypted: bool,
    text: Zeroizing<String>,
}

/// Reads all blocks of a text.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, PemError> {
    if text.len() > MAX_PEM_BYTES {
        let fault = PemFault::TooLong {
            bytes: text.len(),
            max: MAX_PEM_BYTES,
        };
        return Err(at(0, 1, fault));
    }
    let mut blocks = Vec::new();
    let mut open: Option<Open> = None;
    let mut text_after = None;
    for (line, content) in (1..).zip(lines(text)) {
        let content = content.trim_matches([' ', '\t', '\r', '\u{feff}']);
        match (open.take(), boundary(content)) {
            (None, Some(Ok(Boundary::Begin(label)))) => {
                text_after = None;
                open = Some(Open {
                    label: label.to_owned(),
                    line,
                    number: blocks.len() + 1,
                    is_encrypted: false,
                    // Enough for what is left, so that no copy stays behind when it grows.
                    text: Zeroizing::new(String::with_capacity(text.len())),
                });
            }
            (None, Some(Ok(Boundary::End(_)))) => return Err(at(0, line, PemFault::EndAlone)),
            (None, Some(Err(()))) => return Err(at(0, line, PemFault::Boundary)),
            (None, None) => {
                if !content.is_empty() && text_after.is_none() {
                    text_after = Some(line);
                }
            }
            (Some(block), Some(Ok(Boundary::Begin(_)))) => {
                let fault = PemFault::Nested { begin: block.line };
                return Err(at(block.number, line, fault));
            }
            (Some(block), Some(Ok(Boundary::End(label)))) => {
                if label != block.label {
                    let fault = PemFault::OtherEnd { begin: block.line };
                    return Err(at(block.number, line, fault));
                }
                blocks.push(close(&block, line)?);
            }
            (Some(block), Some(Err(()))) => {
                return Err(at(block.number, line, PemFault::Boundary));
            }
            (Some(mut block), None) => {
                take_line(&mut block, content, line)?;
                open = Some(block);
            }
        }
    }
    match (open, text_after) {
        (Some(block), _) => Err(at(block.number, block.line, PemFault::Unterminated)),
        (None, Some(line)) if !blocks.is_empty() => Err(at(0, line, PemFault::Trailing)),
        (None, _) => Ok(blocks),
    }
}

pub(crate) const fn at(block: usize, line: usize, fault: PemFault) -> PemError {
    PemError { block, line, fault }
}

/// Lines that end with LF, CRLF or a lone CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

enum Boundary<'a> {
    Begin(&'a str),
    End(&'a str),
}

/// A line that begins or ends a block; an error for one that only looks like it.
fn boundary(line: &str) -> Option<Result<Boundary<'_>, ()>> {
    let inner = line.strip_prefix("-----")?;
    let read = || {
        let inner = inner.strip_suffix("-----")?;
        if inner.contains("--") {
            return None;
        }
        match inner.strip_prefix("BEGIN ") {
            Some(label) => Some(Boundary::Begin(label)),
            None => inner.strip_prefix("END ").map(Boundary::End),
        }
    };
    Some(read().ok_or(()))
}

fn take_line(block: &mut Open, content: &str, line: usize) -> Result<(), PemError> {
    if let Some((name, value)) = content.split_once(':') {
        // RFC 1421 headers: an encrypted key has them, and is refused as such later.
        let is_key = block.label.ends_with("PRIVATE KEY");
        if is_key && name == "Proc-Type" && value.contains("ENCRYPTED") {
            block.is_encrypted = true;
        } else if !(is_key && block.is_encrypted) {
            return Err(at(block.number, line, PemFault::Header));
        }
        return Ok(());
    }
    if block.is_encrypted {
        return Ok(());
    }
    for (column, character) in (1..).zip(content.chars()) {
        match character {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' | '=' => block.text.push(character),
            ' ' | '\t' => {}
            _ => return Err(at(block.number, line, PemFault::Character { column })),
        }
    }
    Ok(())
}

fn close(block: &Open, line: usize) -> Result<Block, PemError> {
    let label = LABELS
        .iter()
        .copied()
        .find(|label| *label == block.label)
        .unwrap_or("(unknown)");
    let mut der = Zeroizing::new(Vec::with_capacity(block.text.len()));
    if !block.is_encrypted {
        if block.text.is_empty() {
            return Err(at(block.number, block.line, PemFault::Empty));
        }
        STANDARD
            .decode_vec(block.text.as_bytes(), &mut der)
            .map_err(|_| at(block.number, line, PemFault::Base64))?;
    }
    Ok(Block {
        label,
        line: block.line,
        is_encrypted: block.is_encrypted,
        der,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> (usize, usize, PemFault) {
        match blocks(text) {
            Err(error) => (error.block, error.line, error.fault),
            Ok(blocks) => panic!("{} blocks", blocks.len()),
        }
    }

    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";

    #[test]
    fn blanks_line_ends_and_explanations_do_not_matter() {
        for text in [
            format!("{BEGIN}\nAAEC\nAwQF\n{END}\n"),
            format!("{BEGIN}\r\nAAECAwQF\r\n{END}"),
            format!("{BEGIN}\rAAECAwQF\r{END}\r"),
            format!("\u{feff}{BEGIN}\n\n  AAEC AwQF\t\n\n   {END}  \n\n\n"),
            format!("subject=CN = www\nBag Attributes\n\n\t{BEGIN}\n\tAAECAwQF\n\t{END}"),
        ] {
            let read = blocks(&text).unwrap();
            assert_eq!(read.len(), 1, "{text}");
            assert_eq!(*read[0].der, [0, 1, 2, 3, 4, 5], "{text}");
            assert_eq!(read[0].label, "CERTIFICATE");
        }
        assert!(blocks("").unwrap().is_empty());
        assert!(blocks("no block at all").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_and_where() {
        let block = format!("{BEGIN}\nAAEC\n{END}\n");
        assert_eq!(
            fault(&format!("{block}{BEGIN}\nAA!C\n{END}")),
            (2, 5, PemFault::Character { column: 3 })
        );
        assert_eq!(fault(&format!("{BEGIN}\nAAE\n{END}")).2, PemFault::Base64);
        assert_eq!(fault(&format!("{BEGIN}\nAA=C\n{END}")).2, PemFault::Base64);
        assert_eq!(fault(&format!("{BEGIN}\n{END}")), (1, 1, PemFault::Empty));
        assert_eq!(
            fault(&format!("{block}\n{BEGIN}\nAAEC\n")),
            (2, 5, PemFault::Unterminated)
        );
        assert_eq!(
            fault(&format!("{BEGIN}\nAAEC\n{block}")),
            (1, 3, PemFault::Nested { begin: 1 })
        );
        assert_eq!(fault(END), (0, 1, PemFault::EndAlone));
        assert_eq!(
            fault(&format!("{BEGIN}\nAAEC\n-----END PRIVATE KEY-----")),
            (1, 3, PemFault::OtherEnd { begin: 1 })
        );
        assert_eq!(
            fault(&format!("{block}AAEC\n{END}")),
            (0, 5, PemFault::EndAlone)
        );
        assert_eq!(fault(&format!("{block}hello")), (0, 4, PemFault::Trailing));
        assert_eq!(
            fault(&format!("{BEGIN} AAEC {END}")),
            (0, 1, PemFault::Boundary)
        );
        assert_eq!(
            fault(&format!("{BEGIN}\nAAEC\n-----END CERTIFICATE---")),
            (1, 3, PemFault::Boundary)
        );
        assert_eq!(
            fault(&format!("{BEGIN}\nSome: header\nAAEC\n{END}")),
            (1, 2, PemFault::Header)
        );
        let long = "a".repeat(MAX_PEM_BYTES + 1);
        assert!(matches!(fault(&long).2, PemFault::TooLong { .. }));
    }

    #[test]
    fn encrypted_keys_are_recognised_by_their_header() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAEC\n-----END RSA PRIVATE KEY-----";
        let read = blocks(text).unwrap();
        assert!(read[0].is_encrypted && read[0].der.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s)(-----BEGIN [A-Z]{0,3}-----|-----END [A-Z]{0,3}-----|[A-Za-z0-9+/=: \r\n\t-]{0,20}|.){0,12}") {
            let _ = blocks(&text);
        }

        #[test]
        fn what_was_wrapped_reads_back(content in prop::collection::vec(any::<u8>(), 1..400), width in 1usize..100) {
            let text = STANDARD.encode(&content);
            let lines: Vec<&str> = text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let read = blocks(&format!("{BEGIN}\n{}\n{END}", lines.join("\n"))).unwrap();
            prop_assert_eq!(&*read[0].der, &content);
        }
    }
}
