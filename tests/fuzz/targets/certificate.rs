//! Certificates and keys as they are uploaded: any octets. What is taken has an end and facts, and is taken
//! again in the form in which it is kept.
//!
//! Input: a chain, an octet 0, a key.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (chain, key) = text.split_once('\0').unwrap_or((&text, ""));
    match clb_cert::server(chain, key) {
        Ok(content) => {
            let _ = content.not_after();
            let _ = content.warnings(0);
        }
        Err(refused) => assert!(!format!("{refused:?}").is_empty()),
    }
    if let Err(error) = clb_cert::authority(chain) {
        let said = error.to_string();
        assert!(!said.is_empty() && said.len() < 2_000, "{said}");
    }
});
