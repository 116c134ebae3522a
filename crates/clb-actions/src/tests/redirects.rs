//! Parameters of the Actions for redirects.

use super::client::{call, refused};

const IDS: [(&str, &str); 3] = [
    ("loadBalancerId", "lb-abcdefgh"),
    ("sourceuListenerId", "lbl-abcdefgh"),
    ("targetuListenerId", "lbl-ijklmnop"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&IDS[..], more].concat()
}

#[test]
fn every_pair_has_both_rules() {
    for (action, array) in [
        ("ManualRewrite", "rewriteInfo"),
        ("DeleteRewrite", "delRewriteInfo"),
    ] {
        let source = format!("{array}.3.sourceLocation");
        let target = format!("{array}.3.targetLocation");
        let (source, target) = (source.as_str(), target.as_str());
        let both = [(source, "loc-abcdefgh"), (target, "loc-ijklmnop")];
        let admitted = call(action, &with(&both)).unwrap();
        assert_eq!(admitted.params.elements(array).len(), 1);
        for missing in 0..2 {
            let message = refused(action, &with(&both[1 - missing..2 - missing]));
            let name = both[missing].0;
            assert!(
                message.starts_with(&format!("{name}: required")),
                "{message}"
            );
        }
        let message = refused(action, &with(&[]));
        assert!(
            message.contains(array) && message.contains("required"),
            "{message}"
        );
        for missing in 0..3 {
            let mut own = with(&both);
            let (name, _) = own.remove(missing);
            let message = refused(action, &own);
            assert!(
                message.starts_with(&format!("{name}: required")),
                "{message}"
            );
        }
    }
}

#[test]
fn deletions_name_the_array_either_way() {
    let own = with(&[
        ("rewriteInfo.0.sourceLocation", "loc-abcdefgh"),
        ("delRewriteInfo.0.targetLocation", "loc-ijklmnop"),
        ("rewriteInfo.1.sourceLocation", "loc-qrstuvwx"),
        ("rewriteInfo.1.targetLocation", "loc-yz012345"),
    ]);
    let admitted = call("DeleteRewrite", &own).unwrap();
    let pairs = admitted.params.elements("delRewriteInfo");
    let texts: Vec<_> = pairs
        .iter()
        .flat_map(|pair| [pair.text("sourceLocation"), pair.text("targetLocation")])
        .flatten()
        .collect();
    assert_eq!(
        texts,
        [
            "loc-abcdefgh",
            "loc-ijklmnop",
            "loc-qrstuvwx",
            "loc-yz012345"
        ]
    );
    let twice = with(&[
        ("rewriteInfo.0.sourceLocation", "loc-abcdefgh"),
        ("delRewriteInfo.0.sourceLocation", "loc-abcdefgh"),
        ("rewriteInfo.0.targetLocation", "loc-ijklmnop"),
    ]);
    let message = refused("DeleteRewrite", &twice);
    assert!(
        message.contains("only one of them may be given"),
        "{message}"
    );
    // The other way round it is no name of ManualRewrite's.
    let message = refused(
        "ManualRewrite",
        &with(&[("delRewriteInfo.0.sourceLocation", "loc-abcdefgh")]),
    );
    assert!(
        message.contains("delRewriteInfo.0.sourceLocation"),
        "{message}"
    );
}

#[test]
fn domains_and_filters_are_optional() {
    let ids = [
        ("loadBalancerId", "lb-abcdefgh"),
        ("listenerId", "lbl-abcdefgh"),
    ];
    let admitted = call("AutoRewrite", &ids).unwrap();
    assert!(admitted.params.texts("domains").is_empty());
    assert!(refused("AutoRewrite", &ids[..1]).starts_with("listenerId: required"));
    call("DescribeRewrite", &[]).unwrap();
    // It has no parameter that this would be another name of.
    refused("DescribeRewrite", &[("loadBalanceId", "lb-abcdefgh")]);
}
