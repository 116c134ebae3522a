//! clb.toml: any text. It is taken, or each problem has a place and says something.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // No file is read in the place of one that the text names.
    if text.contains("/dev") || text.contains("/proc") || text.contains("..") {
        return;
    }
    match clb_config::parse(&text, Path::new("/nonexistent/clb.toml")) {
        Ok(config) => assert!(!config.api.listen.is_empty()),
        Err(problems) => {
            let said = problems.to_string();
            assert!(said.starts_with("/nonexistent/clb.toml"), "{said}");
        }
    }
});
