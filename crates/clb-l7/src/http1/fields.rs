//! Field lines (RFC 9112, section 5): read in one pass, kept as positions in the head.

use super::names::{Known, known};
use super::octets::{
    CRLF, first_control, from, is_blank, part, token_at_start, trim_end, trim_start,
};

/// What is wrong with a field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// A line that begins with a blank: a folded value, or something before the first field, which
    /// some read as part of the line above (RFC 9112, sections 2.2 and 5.2).
    #[error("a field line begins with a blank")]
    Folded,
    /// A line without a colon.
    #[error("a field line has no colon")]
    NoColon,
    /// Nothing before the colon.
    #[error("a field has no name")]
    NoName,
    /// A blank between name and colon (RFC 9112, section 5.1).
    #[error("a blank stands between a field's name and its colon")]
    BlankBeforeColon,
    /// A name that is no token (RFC 9110, section 5.6.2).
    #[error("a field's name has an octet that no token has")]
    Name,
    /// A control octet in a value, CR and NUL included; tabs are allowed (RFC 9110, section 5.5).
    #[error("a field's value has a control octet")]
    Value,
    /// The head does not end in an empty line, or goes on after it, or has more fields than are
    /// read.
    #[error("the head does not end in one empty line")]
    NotClosed,
}

/// One field line: positions in the head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// First octet of the name.
    pub(crate) start: u32,
    pub(crate) name_end: u32,
    /// The value without blanks around it.
    pub(crate) value_start: u32,
    pub(crate) value_end: u32,
    /// After the CRLF.
    pub(crate) end: u32,
    pub(crate) known: Known,
    /// A connection option names it: it is removed (RFC 9110, section 7.6.1).
    pub(crate) named: bool,
}

impl Field {
    #[inline]
    pub(crate) fn name<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        part(head, self.start as usize, self.name_end as usize)
    }

    #[inline]
    pub(crate) fn value<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        part(head, self.value_start as usize, self.value_end as usize)
    }
}

/// Storage for the positions of a head's fields, used again for the next head, so that parsing
/// allocates nothing once it has grown.
#[derive(Debug, Default)]
pub struct Fields {
    pub(crate) list: Vec<Field>,
    /// Connection options that are field names, as positions in the head.
    pub(crate) named: Vec<(u32, u32)>,
    /// A path that does not stand in the head as such.
    pub(crate) path: Vec<u8>,
}

impl Fields {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.named.clear();
        self.path.clear();
    }

    /// Appends a field line to `out`, and keeps where it is as [`read_field`] would find it, so that
    /// nobody needs to look for it. `name` is a token, and what `value` appends has no control octets
    /// but tabs. Whoever begins a head clears `self` before.
    pub(crate) fn write(
        &mut self,
        name: &[u8],
        value: impl FnOnce(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        let value_start = out.len();
        value(out);
        let (whole, clean) = (from(out, value_start), trim_start(from(out, value_start)));
        let value_start = value_start + (whole.len() - clean.len());
        let value_end = value_start + trim_end(clean).len();
        out.extend_from_slice(CRLF);
        // Whoever reads the head checks that its positions fit.
        self.list.push(Field {
            start: start as u32,
            name_end: (start + name.len()) as u32,
            value_start: value_start as u32,
            value_end: value_end as u32,
            end: out.len() as u32,
            known: known(name, || name.contains(&b'_')),
            named: false,
        });
    }

    /// Names and values in the order in which they came, names as they were sent, values without
    /// the blanks around them.
    pub(crate) fn pairs<'a>(
        &'a self,
        head: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.list
            .iter()
            .map(move |field| (field.name(head), field.value(head)))
    }
}

/// Reads one field line at the start of `rest`, which stands at `at` in its head and is not the
/// empty line.
///
/// # Errors
/// [`FieldFault`].
#[inline]
pub(crate) fn read_field(rest: &[u8], at: usize) -> Result<Field, FieldFault> {
    let (name_length, has_underscore) = token_at_start(rest).ok_or(FieldFault::NotClosed)?;
    match rest.get(name_length) {
        Some(b':') if name_length > 0 => {}
        Some(b':') => return Err(FieldFault::NoName),
        Some(&octet) if is_blank(octet) => {
            return Err(match name_length {
                0 => FieldFault::Folded,
                _ => FieldFault::BlankBeforeColon,
            });
        }
        Some(b'\r') => return Err(FieldFault::NoColon),
        _ => return Err(FieldFault::Name),
    }
    let after = from(rest, name_length + 1);
    let length = first_control(after).ok_or(FieldFault::NotClosed)?;
    if part(after, length, length + CRLF.len()) != CRLF {
        return Err(FieldFault::Value);
    }
    let blanks = after
        .iter()
        .position(|&octet| !is_blank(octet))
        .unwrap_or_default();
    let value = trim_end(part(after, blanks, length));
    let value_start = at + name_length + 1 + blanks;
    // `read_fields` has checked that the head's positions fit.
    Ok(Field {
        start: at as u32,
        name_end: (at + name_length) as u32,
        value_start: value_start as u32,
        value_end: (value_start + value.len()) as u32,
        end: (at + name_length + 1 + length + CRLF.len()) as u32,
        known: known(part(rest, 0, name_length), || has_underscore),
        named: false,
    })
}

/// Reads the field lines of `data` from `start` to the empty line into `list`, at most `most`, and
/// shows each to `see`. Gives where the empty line ends.
///
/// # Errors
/// [`FieldFault`], or what `see` says.
#[inline]
pub(crate) fn read_fields<E: From<FieldFault>>(
    data: &[u8],
    start: usize,
    most: usize,
    list: &mut Vec<Field>,
    mut see: impl FnMut(&Field, &[Field]) -> Result<(), E>,
) -> Result<usize, E> {
    // Positions are kept in 32 bits.
    if u32::try_from(data.len()).is_err() {
        return Err(FieldFault::NotClosed.into());
    }
    let mut at = start;
    loop {
        let rest = from(data, at);
        if let [b'\r', ..] | [] = rest {
            return match rest.starts_with(CRLF) {
                true => Ok(at + CRLF.len()),
                false => Err(FieldFault::NotClosed.into()),
            };
        }
        if list.len() >= most {
            return Err(FieldFault::NotClosed.into());
        }
        let field = read_field(rest, at)?;
        see(&field, list)?;
        list.push(field);
        at = field.end as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<(String, String)>, FieldFault> {
        let mut fields = Fields::default();
        let end = read_fields(text, 0, 3, &mut fields.list, |_, _| Ok(()))?;
        if end != text.len() {
            return Err(FieldFault::NotClosed);
        }
        let show = |octets: &[u8]| octets.escape_ascii().to_string();
        Ok(fields
            .pairs(text)
            .map(|(name, value)| (show(name), show(value)))
            .collect())
    }

    #[test]
    fn accepted_lines() {
        // RFC 9112, 5: field-line = field-name ":" OWS field-value OWS
        for (line, name, value) in [
            (&b"a:b"[..], "a", "b"),
            (b"a: b", "a", "b"),
            (b"a:\t b \t", "a", "b"),
            (b"a:", "a", ""),
            (b"a: \t ", "a", ""),
            (b"a:b\tc", "a", "b\\tc"),
            (b"a:b: c:", "a", "b: c:"),
            (b"!#$%&'*+-.^_`|~9: x", "!#$%&\\'*+-.^_`|~9", "x"),
            // obs-text is opaque (RFC 9110, 5.5)
            (b"a: \xe9\xff", "a", "\\xe9\\xff"),
        ] {
            let text = [line, b"\r\n\r\n"].concat();
            let expected = vec![(name.to_owned(), value.to_owned())];
            assert_eq!(read(&text), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn refused_lines() {
        use FieldFault::*;
        for (line, fault) in [
            (&b" a: b"[..], Folded),
            (b"\ta: b", Folded),
            (b"a: b\r\n c", Folded),
            (b"a: b\r\n\tc", Folded),
            (b"a: b\r\n ", Folded),
            (b"a", NoColon),
            (b": b", NoName),
            (b":", NoName),
            (b"a : b", BlankBeforeColon),
            (b"a\t: b", BlankBeforeColon),
            (b"a b: c", BlankBeforeColon),
            (b"a\x0b: b", Name),
            (b"a\0: b", Name),
            (b"a\x7f: b", Name),
            (b"a\xe9: b", Name),
            (b"a(: b", Name),
            (b"a\"b: c", Name),
            (b"a,b: c", Name),
            (b"{a}: b", Name),
            (b"a/b: c", Name),
            (b"a=b", Name),
            (b"\xef\xbb\xbfa: b", Name),
            (b"a: b\0c", Value),
            (b"a: b\rc", Value),
            (b"a: b\r", Value),
            (b"a: b\nc: d", Value),
            (b"a: \x0b", Value),
            (b"a: \x0cb", Value),
            (b"a: b\x7f", Value),
            (b"a: \x1b[0m", Value),
        ] {
            let text = [line, b"\r\n\r\n"].concat();
            assert_eq!(read(&text), Err(fault), "{line:?}");
        }
    }

    #[test]
    fn the_end() {
        assert_eq!(read(b"\r\n"), Ok(vec![]));
        assert!(read(b"a:\r\nb:\r\nc:\r\n\r\n").is_ok());
        for text in [
            &b""[..],
            b"\r",
            b"\r\r\n",
            b"\r\n\r\n",
            b"\r\na: b\r\n",
            b"a",
            b"a:",
            b"a: b",
            b"a: b\r\n",
            b"a: b\r\n\r",
            b"a: b\r\n\r\nc",
            b"a:\r\nb:\r\nc:\r\nd:\r\n\r\n",
        ] {
            assert_eq!(read(text), Err(FieldFault::NotClosed), "{text:?}");
        }
    }
}
