//! Copying what stays the same, many lines at a time.

use super::octets::{CRLF, part, push_decimal};

/// Octets of a head that are to be copied and are not yet.
pub(crate) struct Runs<'a> {
    head: &'a [u8],
    start: usize,
}

impl<'a> Runs<'a> {
    /// Everything from `start` on is to be copied, until something else is said.
    #[inline]
    pub(crate) fn new(head: &'a [u8], start: usize) -> Self {
        Self { head, start }
    }

    /// Copies what comes before `start` and skips to `end`.
    #[inline]
    pub(crate) fn skip(&mut self, start: u32, end: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(part(self.head, self.start, start as usize));
        self.start = end as usize;
    }

    /// Copies the rest, but not the empty line.
    #[inline]
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        let end = self.head.len().saturating_sub(CRLF.len());
        out.extend_from_slice(part(self.head, self.start, end));
    }
}

/// Appends `name: value CRLF`; `name` with its colon and space.
#[inline]
pub(crate) fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}

/// Appends a Content-Length.
pub(crate) fn push_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(length, out);
    out.extend_from_slice(CRLF);
}

/// Appends Connection with those of `options` that apply, unless none does.
pub(crate) fn push_connection(options: &[(&[u8], bool)], out: &mut Vec<u8>) {
    let mut separator: &[u8] = b"Connection: ";
    let mut some = false;
    for (option, _) in options.iter().filter(|(_, applies)| *applies) {
        out.extend_from_slice(separator);
        out.extend_from_slice(option);
        separator = b", ";
        some = true;
    }
    if some {
        out.extend_from_slice(CRLF);
    }
}
