//! The JSON object around every answer (actions.md A.10): `code`, `message`, `codeDesc`, then the
//! Action's own fields.

use serde::Serialize;

use crate::error::ApiError;

#[derive(Serialize)]
struct Success<'a, T> {
    code: u32,
    message: &'a str,
    #[serde(rename = "codeDesc")]
    code_desc: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: u32,
    message: &'a str,
    #[serde(rename = "codeDesc")]
    code_desc: &'a str,
}

/// The answer of an Action that succeeded; `body`'s fields follow the envelope's in the order of
/// their declaration. A body without fields (`()`, an empty struct) gives the envelope alone.
///
/// A body that cannot stand in a JSON object, such as a number, is a fault of the caller and is
/// answered as 6000.
#[must_use]
pub fn success<T: Serialize>(body: &T) -> String {
    let answer = Success {
        code: 0,
        message: "",
        code_desc: "Success",
        body,
    };
    serde_json::to_string(&answer)
        .unwrap_or_else(|_| failure(&ApiError::internal("answer-encoding")))
}

/// The answer of an Action that was refused: code, message with its number, codeDesc.
#[must_use]
pub fn failure(error: &ApiError) -> String {
    let answer = Failure {
        code: error.code,
        message: &error.full_message(),
        code_desc: error.code_desc,
    };
    // Two strings and a number always encode; the text is for the type system.
    serde_json::to_string(&answer).unwrap_or_else(|_| {
        r#"{"code":6000,"message":"internal error","codeDesc":"InternalError"}"#.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct Created {
        #[serde(rename = "requestId")]
        request_id: u64,
        #[serde(rename = "listenerIds")]
        listener_ids: Vec<String>,
    }

    #[derive(Serialize)]
    struct Nothing {}

    #[derive(Serialize)]
    struct Unit;

    #[test]
    fn the_envelope_comes_first_and_the_fields_in_their_order() {
        let body = Created {
            request_id: 28557,
            listener_ids: vec!["lbl-hox8i4q0".to_owned()],
        };
        assert_eq!(
            success(&body),
            r#"{"code":0,"message":"","codeDesc":"Success","requestId":28557,"listenerIds":["lbl-hox8i4q0"]}"#
        );
    }

    #[test]
    fn an_answer_without_fields_is_the_envelope_alone() {
        let bare = r#"{"code":0,"message":"","codeDesc":"Success"}"#;
        assert_eq!(success(&()), bare);
        assert_eq!(success(&Unit), bare);
        assert_eq!(success(&Nothing {}), bare);
    }

    #[test]
    fn text_is_escaped_no_further_than_json_requires() {
        #[derive(Serialize)]
        struct Named<'a> {
            name: &'a str,
        }
        assert!(
            success(&Named {
                name: "负载</é>\"\n"
            })
            .ends_with(r#""name":"负载</é>\"\n"}"#)
        );
    }

    #[test]
    fn a_body_that_is_no_object_is_an_internal_error() {
        assert!(success(&7).contains(r#""code":6000"#));
    }

    #[test]
    fn a_failure_has_three_fields() {
        assert_eq!(
            failure(&ApiError::load_balancer_not_found("lb-abcdefgh")),
            r#"{"code":5000,"message":"(11041) load balancer instance lb-abcdefgh: does not exist","codeDesc":"ResourceNotFound"}"#
        );
    }

    proptest! {
        #[test]
        fn every_failure_reads_back(message in any::<String>()) {
            let error = ApiError::parameter(message);
            let read: serde_json::Value = serde_json::from_str(&failure(&error)).unwrap();
            let message = error.full_message();
            prop_assert_eq!(read["message"].as_str(), Some(message.as_str()));
        }
    }
}
