//! The one place where texts of clients become domains and urls of rules: their form is checked by
//! the model's types, that a regular expression compiles by the engine that will execute it.

use clb_actions::ApiError;
use clb_actions::echo::echo;
use clb_model::{DomainPattern, UrlPattern};

/// Reads the domain of a rule. `name` is the parameter's as sent.
///
/// # Errors
/// 4000 (9003) with the reason, and for a regular expression the place.
pub fn domain(name: &str, text: &str) -> Result<DomainPattern, ApiError> {
    let domain = parse_domain(name, text)?;
    clb_routing::check_domain(&domain).map_err(|error| refuse(name, text, &error))?;
    Ok(domain)
}

/// Reads the url of a rule. `name` is the parameter's as sent.
///
/// # Errors
/// 4000 (9003) with the reason, and for a regular expression the place.
pub fn url(name: &str, text: &str) -> Result<UrlPattern, ApiError> {
    let url = parse_url(name, text)?;
    clb_routing::check_url(&url).map_err(|error| refuse(name, text, &error))?;
    Ok(url)
}

/// The form alone, for a text that [`domain`] has accepted.
///
/// # Errors
/// 4000 (9003) with the reason.
pub(super) fn parse_domain(name: &str, text: &str) -> Result<DomainPattern, ApiError> {
    DomainPattern::parse(text).map_err(|error| refuse(name, text, &error))
}

/// The form alone, for a text that [`url`] has accepted.
///
/// # Errors
/// 4000 (9003) with the reason.
pub(super) fn parse_url(name: &str, text: &str) -> Result<UrlPattern, ApiError> {
    UrlPattern::parse(text).map_err(|error| refuse(name, text, &error))
}

fn refuse(name: &str, text: &str, reason: &dyn std::fmt::Display) -> ApiError {
    ApiError::parameter(format!("{name}={}: {reason}", echo(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones_come_back_as_given() {
        for text in [
            "www.a.com",
            "*.a.com",
            "www.a.*",
            ".a.com",
            r"~^www\d+\.a\.com$",
        ] {
            assert_eq!(domain("domain", text).unwrap().as_str(), text);
        }
        for text in [
            "/",
            "= /a",
            "^~ /a",
            r"~ \.php$",
            r"~* \.(gif|jpg)$",
            "~ (?<!a)b",
        ] {
            assert_eq!(url("url", text).unwrap().as_str(), text);
        }
        assert_eq!(url("url", "fourth").unwrap().as_str(), "/fourth");
    }

    #[test]
    fn bad_ones_are_refused_by_name_with_value_and_reason() {
        let message = |result: Result<String, ApiError>| {
            let error = result.unwrap_err();
            assert_eq!((error.code, error.module), (4000, Some(9003)));
            error.message
        };
        let of_domain =
            |text: &str| message(domain("rules.0.domain", text).map(|domain| domain.to_string()));
        let of_url = |text: &str| message(url("rules.0.url", text).map(|url| url.to_string()));
        let star = of_domain("a.*.b");
        assert!(star.starts_with("rules.0.domain=a.*.b: "), "{star}");
        let open = of_domain("~^(a");
        assert!(
            open.starts_with("rules.0.domain=~^(a: ") && open.contains("character 4"),
            "{open}"
        );
        let blank = of_url("/a b");
        assert!(blank.contains("character 3"), "{blank}");
        let open = of_url("~* [a");
        assert!(
            open.starts_with("rules.0.url=~* [a: ") && open.contains("character 5"),
            "{open}"
        );
    }
}
