//! Domains and urls of rules: what is admitted is written as it was, and can be compiled or says why not.
//!
//! Input is two lines: a domain and a url.
#![no_main]

use clb_model::{DomainPattern, UrlPattern};
use clb_routing::Router;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (domain, url) = text.split_once('\n').unwrap_or((text, "/"));
    let domain = DomainPattern::parse(domain);
    let url = UrlPattern::parse(url);
    if let Ok(domain) = &domain {
        let again = DomainPattern::parse(&domain.to_string()).expect("what was admitted is admitted");
        assert_eq!(again.key(), domain.key());
        assert!(domain.to_string().len() <= data.len() + 1);
    }
    if let Ok(url) = &url {
        let again = UrlPattern::parse(&url.to_string()).expect("what was admitted is admitted");
        assert_eq!(&again, url);
    }
    if let (Ok(domain), Ok(url)) = (&domain, &url) {
        match Router::new().with(domain, url, 0u64, 0) {
            Ok(router) => assert_eq!(router.len(), 1),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
