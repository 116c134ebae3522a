//! What can be wrong with an upload.

/// A refused upload: which of its two texts, and why. The message does not name the text, for its
/// name is the caller's (`certKey`, `newCertKey`, the file of clb.toml).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The certificate text.
    Certificate(CertificateError),
    /// The private key.
    Key(KeyError),
}

/// What is wrong with a certificate text. Certificates are counted from 1, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The PEM form.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// No block at all.
    #[error("no certificate: there is no line \"-----BEGIN CERTIFICATE-----\"")]
    None,
    /// More than [`MAX_CERTIFICATES`](crate::MAX_CERTIFICATES).
    #[error("more than {max} certificates, the one at line {line} is too much")]
    TooMany {
        /// The limit.
        max: usize,
        /// Where the first one beyond begins.
        line: usize,
    },
    /// One of the certificates.
    #[error("certificate {number} (line {line}){}: {fault}", subject.as_ref().map(|subject| format!(", {subject},")).unwrap_or_default())]
    Certificate {
        /// Which.
        number: usize,
        /// Where its block begins.
        line: usize,
        /// Its subject, when it could be read.
        subject: Option<String>,
        /// What is wrong.
        fault: Fault,
    },
    /// The chain is not leaf first, each followed by its issuer.
    #[error(
        "certificate {number} (line {line}) does not follow: certificate {} was issued by \"{issuer}\", but this one is \"{subject}\"; the order is the server's certificate first, then each one's issuer",
        number - 1
    )]
    OutOfOrder {
        /// The one that is not the issuer of the one before it.
        number: usize,
        /// Where its block begins.
        line: usize,
        /// Who issued the one before.
        issuer: String,
        /// Whose certificate stands here.
        subject: String,
    },
}

/// What is wrong with one certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No X.509 certificate (RFC 5280 4.1).
    #[error("is no X.509 certificate: {0}")]
    Unreadable(String),
    /// More than one structure in the block.
    #[error("has {0} bytes after the end of the certificate in the same block")]
    Trailing(usize),
    /// A server's certificate of X.509 version 1 or 2, which TLS stacks no longer take.
    #[error("is an X.509 version {0} certificate; a server's must be version 3")]
    Version(u32),
    /// The type or size of its public key.
    #[error(
        "has a public key of type {0}; supported are RSA of 2048 to 8192 bits, ECDSA P-256, P-384 and P-521, and Ed25519"
    )]
    KeyType(String),
    /// Not a CA certificate (RFC 5280 4.2.1.9).
    #[error(
        "is no CA certificate: {0}; client certificates are checked against CA certificates with CA:TRUE"
    )]
    NoAuthority(&'static str),
}

/// What is wrong with a private key's text. No variant holds a part of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The PEM form.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// No block of a key.
    #[error(
        "no private key: there is no line \"-----BEGIN PRIVATE KEY-----\" (or RSA PRIVATE KEY, EC PRIVATE KEY)"
    )]
    None,
    /// More than one.
    #[error("more than one private key, the second one begins at line {0}")]
    Several(usize),
    /// With a passphrase.
    #[error("line {0}: the private key is encrypted; it must come without a passphrase")]
    Encrypted(usize),
    /// Of a kind that cannot serve, or damaged.
    #[error(
        "line {0}: is no private key that can be used; supported are RSA of 2048 to 8192 bits, ECDSA P-256, P-384 and P-521 and Ed25519, as PKCS#8, PKCS#1 (RSA) or SEC1 (ECDSA)"
    )]
    Unusable(usize),
    /// Of another certificate.
    #[error("the private key does not belong to the first certificate, {subject}")]
    Mismatch {
        /// The certificate's subject.
        subject: String,
    },
}

/// Where a text is not PEM (RFC 7468).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {fault}", block_name(*block))]
pub struct PemError {
    /// Which block, counted from 1; 0 outside of blocks.
    pub block: usize,
    /// Which line of the text, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: PemFault,
}

fn block_name(block: usize) -> String {
    match block {
        0 => String::new(),
        block => format!(" (block {block})"),
    }
}

/// What is wrong with a PEM text. No variant holds a part of a block's content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// The whole text.
    #[error("the text has {bytes} bytes, at most {max} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A BEGIN or END line that has another form.
    #[error(
        "a line that begins a block must be exactly \"-----BEGIN label-----\", one that ends it \"-----END label-----\""
    )]
    Boundary,
    /// An END without its BEGIN.
    #[error("END without a BEGIN before it")]
    EndAlone,
    /// A BEGIN inside a block.
    #[error("a new block begins, but the one from line {begin} has not ended")]
    Nested {
        /// Where the open one begins.
        begin: usize,
    },
    /// END says another label than BEGIN.
    #[error("END does not have the label of the BEGIN at line {begin}")]
    OtherEnd {
        /// Where the block begins.
        begin: usize,
    },
    /// The text ends inside a block.
    #[error("the block that begins here has no END line")]
    Unterminated,
    /// A character that base64 does not have.
    #[error("character {column} is none of base64 (A-Z a-z 0-9 + / =)")]
    Character {
        /// Which, counted from 1 after the blanks at the line's start.
        column: usize,
    },
    /// Length or padding.
    #[error("the base64 text of the block that ends here is cut off or wrongly padded")]
    Base64,
    /// A block without content.
    #[error("the block is empty")]
    Empty,
    /// Headers as in RFC 1421 inside a block.
    #[error("a header line inside a block; only base64 text is taken")]
    Header,
    /// A block that does not belong into this text.
    #[error("a block of type \"{label}\"; {wanted}")]
    Label {
        /// What it says, if it is one that PEM files have; else a placeholder.
        label: &'static str,
        /// What belongs here.
        wanted: &'static str,
    },
    /// Text after the last block.
    #[error("text after the last block")]
    Trailing,
}
