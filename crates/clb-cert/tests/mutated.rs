//! Whatever is done to an upload: it is taken or refused, nothing panics, and no refusal shows a
//! piece of the key.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::sync::OnceLock;

use clb_cert::{Refused, authority, server};
use proptest::prelude::*;

/// A certificate and its key.
fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let pair = rcgen::KeyPair::generate().unwrap();
        (
            params.self_signed(&pair).unwrap().pem(),
            pair.serialize_pem(),
        )
    })
}

#[derive(Debug, Clone)]
enum Mutation {
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, String),
    Replace(prop::sample::Index, char),
    Repeat(prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<prop::sample::Index>(), 1usize..80).prop_map(|(at, n)| Mutation::Remove(at, n)),
        (
            any::<prop::sample::Index>(),
            "[-A-Za-z0-9+/=: \r\n]{1,4}|-----|é"
        )
            .prop_map(|(at, text)| Mutation::Insert(at, text)),
        (any::<prop::sample::Index>(), any::<char>()).prop_map(|(at, c)| Mutation::Replace(at, c)),
        (any::<prop::sample::Index>(), 1usize..200).prop_map(|(at, n)| Mutation::Repeat(at, n)),
    ]
}

fn mutated(text: &str, mutations: &[Mutation]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for mutation in mutations {
        if text.is_empty() {
            break;
        }
        match mutation {
            Mutation::Remove(at, n) => {
                let at = at.index(text.len());
                let end = (at + n).min(text.len());
                text.drain(at..end);
            }
            Mutation::Insert(at, new) => {
                let at = at.index(text.len());
                text.splice(at..at, new.chars());
            }
            Mutation::Replace(at, c) => {
                let at = at.index(text.len());
                text[at] = *c;
            }
            Mutation::Repeat(at, n) => {
                let at = at.index(text.len());
                let end = (at + n).min(text.len());
                let piece: Vec<char> = text[at..end].to_vec();
                text.splice(at..at, piece);
            }
        }
    }
    text.into_iter().collect()
}

proptest! {
    #[test]
    fn mutated_uploads_are_taken_or_refused(
        of_certificate in prop::collection::vec(mutation(), 0..3),
        of_key in prop::collection::vec(mutation(), 0..3),
    ) {
        let (certificate, key) = pair();
        let (certificate, key) = (mutated(certificate, &of_certificate), mutated(key, &of_key));
        let _ = authority(&certificate);
        if let Err(refused) = server(&certificate, &key) {
            let message = match &refused {
                Refused::Certificate(error) => error.to_string(),
                Refused::Key(error) => error.to_string(),
            };
            prop_assert!(!message.is_empty());
            let shown = format!("{message} {refused:?}");
            for piece in key.lines().filter(|line| line.len() >= 16 && !line.contains("-----")) {
                prop_assert!(!shown.contains(piece.trim()));
            }
        }
    }
}
