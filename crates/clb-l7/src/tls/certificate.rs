//! What backends learn of a client's certificate.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

/// Octets that the fields may have: backends take heads of some 8 KiB.
const LONGEST: usize = 4 * 1024;

/// The fields X-SSL-Client-Verify, X-SSL-Client-S-DN and X-SSL-Client-Serial as nginx's variables
/// of these names would fill them, each with its end of line; empty without a certificate. `None`
/// for a certificate that can not be read or whose subject is too long to be passed on whole.
///
/// That it is of the client CA, rustls has seen to.
pub(super) fn certificate_fields(chain: Option<&[CertificateDer<'_>]>) -> Option<Box<[u8]>> {
    let Some(leaf) = chain.and_then(<[_]>::first) else {
        return Some(Box::default());
    };
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let mut out = String::from("X-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-S-DN: ");
    push_name(certificate.subject(), &mut out);
    out.push_str("\r\nX-SSL-Client-Serial: ");
    push_serial(certificate.raw_serial(), &mut out);
    out.push_str("\r\n");
    (out.len() <= LONGEST).then(|| out.into_bytes().into())
}

/// In hexadecimal, without the octet that only keeps it positive (X.690 8.3).
fn push_serial(serial: &[u8], out: &mut String) {
    let serial = match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        serial => serial,
    };
    push_hex(serial, out);
}

fn push_hex(octets: &[u8], out: &mut String) {
    for octet in octets {
        // Writing to a string does not fail.
        let _ = write!(out, "{octet:02X}");
    }
}

/// The name as RFC 4514 writes it: the last part first, in visible ASCII only.
fn push_name(name: &X509Name<'_>, out: &mut String) {
    let parts: Vec<_> = name.iter_rdn().collect();
    for (place, part) in parts.iter().rev().enumerate() {
        if place > 0 {
            out.push(',');
        }
        for (place, attribute) in part.iter().enumerate() {
            if place > 0 {
                out.push('+');
            }
            let oid = attribute.attr_type();
            match short_name(&oid.to_id_string()) {
                Some(short) => out.push_str(short),
                None => out.push_str(&oid.to_id_string()),
            }
            out.push('=');
            push_value(attribute.attr_value(), out);
        }
    }
}

/// The keywords of RFC 4514 3, and e-mail as OpenSSL has it.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// Strings are escaped as RFC 4514 2.4 says, and so is all that is not visible ASCII: a field's
/// value can not hold it. What is no string is written as its octets.
fn push_value(value: &Any<'_>, out: &mut String) {
    let Some(text) = text(value) else {
        out.push('#');
        return push_hex(value.data, out);
    };
    let last = text.len().saturating_sub(1);
    for (place, octet) in text.bytes().enumerate() {
        let is_edge = octet == b' ' && (place == 0 || place == last);
        match octet {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            b'#' if place == 0 => out.push_str("\\#"),
            b' '..=b'~' if !is_edge => out.push(char::from(octet)),
            octet => {
                out.push('\\');
                push_hex(&[octet], out);
            }
        }
    }
}

fn text(value: &Any<'_>) -> Option<String> {
    const UTF8: u32 = 12;
    const PRINTABLE: u32 = 19;
    const TELETEX: u32 = 20;
    const IA5: u32 = 22;
    const BMP: u32 = 30;
    match value.tag().0 {
        UTF8 | PRINTABLE | IA5 => std::str::from_utf8(value.data).ok().map(str::to_owned),
        // Latin 1 in practice.
        TELETEX => Some(value.data.iter().map(|&octet| char::from(octet)).collect()),
        BMP => {
            let units = value.data.chunks_exact(2).map(|unit| match unit {
                [high, low] => u16::from_be_bytes([*high, *low]),
                _ => 0,
            });
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};

    fn fields(names: &[(DnType, &str)], serial: &[u8]) -> Option<String> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.serial_number = Some(SerialNumber::from_slice(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let fields = certificate_fields(Some(&[certificate.der().clone()]))?;
        Some(String::from_utf8(fields.into()).unwrap())
    }

    #[test]
    fn without_a_certificate_there_are_none() {
        assert_eq!(certificate_fields(None).as_deref(), Some(&b""[..]));
        assert_eq!(certificate_fields(Some(&[])).as_deref(), Some(&b""[..]));
        assert!(certificate_fields(Some(&[CertificateDer::from(vec![1])])).is_none());
    }

    #[test]
    fn subject_and_serial_are_written_as_nginx_does() {
        let names = [
            (DnType::CountryName, "CN"),
            (DnType::OrganizationName, "A, Inc."),
            (DnType::CommonName, "client"),
        ];
        assert_eq!(
            fields(&names, &[0x80, 1, 0xab]).unwrap(),
            "X-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-S-DN: CN=client,O=A\\, Inc.,C=CN\r\nX-SSL-Client-Serial: 8001AB\r\n"
        );
    }

    #[test]
    fn no_subject_can_write_a_field_of_its_own() {
        let names = [(DnType::CommonName, " a\r\nX: é\0#+<>;\"\\ ")];
        let written = fields(&names, &[1]).unwrap();
        let line = written.lines().nth(1).unwrap();
        assert_eq!(
            line,
            r#"X-SSL-Client-S-DN: CN=\20a\0D\0AX: \C3\A9\00#\+\<\>\;\"\\\20"#
        );
        assert_eq!(written.lines().count(), 3);
    }

    #[test]
    fn a_subject_that_backends_would_refuse_is_refused() {
        let long = "x".repeat(LONGEST);
        assert!(fields(&[(DnType::CommonName, long.as_str())], &[1]).is_none());
    }
}
