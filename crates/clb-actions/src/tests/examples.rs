//! The requests that actions.md D gives as examples.

use super::client::call;

#[test]
fn the_documents_examples_pass() {
    let pem = "-----BEGIN CERTIFICATE-----";
    for (action, own) in [
        ("InquiryLBPrice", vec![("loadBalancerType", "2")]),
        (
            "CreateLoadBalancer",
            vec![("loadBalancerType", "2"), ("number", "3")],
        ),
        (
            "DescribeLoadBalancers",
            vec![("loadBalancerIds.0", "lb-abcdefgh")],
        ),
        (
            "DeleteLoadBalancers",
            vec![("loadBalancerIds.0", "lb-abcdefgh")],
        ),
        (
            "GetCertListWithLoadBalancer",
            vec![("certIds.0", "4b9fc92b")],
        ),
        (
            "ReplaceCert",
            vec![("oldCertId", "4b9fc92b"), ("newCertId", "e2b6d555")],
        ),
        (
            "ModifyForwardLBSeventhListener",
            vec![
                ("loadBalancerId", "lb-ltkip4do"),
                ("listenerId", "lbl-6hkiqc6c"),
                ("SSLMode", "unidirectional"),
            ],
        ),
        (
            "DescribeLoadBalancersTaskResult",
            vec![("requestId", "6356081")],
        ),
        (
            "ModifyLoadBalancerAttributes",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("loadBalancerName", "my-lb-name"),
            ],
        ),
        (
            "CreateLoadBalancerListeners",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("listeners.0.loadBalancerPort", "443"),
                ("listeners.0.instancePort", "443"),
                ("listeners.0.protocol", "4"),
                ("listeners.0.SSLMode", "mutual"),
                ("listeners.0.certName", "myCertName"),
                ("listeners.0.certContent", pem),
                ("listeners.0.certKey", "-----BEGIN RSA PRIVATE KEY-----"),
                ("listeners.0.certCaContent", pem),
                ("listeners.0.certCaName", "myCertCaName"),
            ],
        ),
        (
            "DescribeLoadBalancerListeners",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("listenerIds.0", "lbl-6hkiqc6c"),
                ("listenerIds.1", "lbl-6wv071ba"),
            ],
        ),
        (
            "ModifyLoadBalancerListener",
            vec![
                ("loadBalancerId", "lb-ltkip4do"),
                ("listenerId", "lbl-6hkiqc6c"),
                ("SSLMode", "unidirectional"),
            ],
        ),
        (
            "DeleteLoadBalancerListeners",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("listenerIds.0", "lbl-rbuzrm5d"),
            ],
        ),
        (
            "RegisterInstancesWithLoadBalancer",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("backends.0.instanceId", "ins-1234test"),
                ("backends.0.weight", "10"),
                ("backends.1.instanceId", "ins-5678test"),
                ("backends.1.weight", "6"),
            ],
        ),
        (
            "DescribeLoadBalancerBackends",
            vec![("loadBalancerId", "lb-byhpduqt")],
        ),
        (
            "ModifyLoadBalancerBackends",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("backends.0.instanceId", "ins-6789test"),
                ("backends.0.weight", "10"),
            ],
        ),
        (
            "DeregisterInstancesFromLoadBalancer",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("backends.0.instanceId", "ins-1234test"),
                ("backends.1.instanceId", "ins-6789test"),
            ],
        ),
        (
            "DescribeLBHealthStatus",
            vec![("loadBalancerId", "lb-abcdefgh")],
        ),
        (
            "ModifyForwardLBName",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("loadBalancerName", "newLBName"),
            ],
        ),
        (
            "DescribeForwardLBListeners",
            vec![("loadBalancerId", "lb-6efswuxa")],
        ),
        (
            "CreateForwardLBSeventhLayerListeners",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("listeners.0.loadBalancerPort", "443"),
                ("listeners.0.protocol", "4"),
                ("listeners.0.SSLMode", "mutual"),
                ("listeners.0.certName", "myCertName"),
                ("listeners.0.certContent", pem),
                ("listeners.0.certKey", "-----BEGIN RSA PRIVATE KEY-----"),
                ("listeners.0.certCaContent", pem),
                ("listeners.0.certCaName", "myCertCaName"),
            ],
        ),
        (
            "DeleteForwardLBListener",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("listenerId", "lbl-20cxbf40"),
            ],
        ),
        (
            // The official page's own example.
            "DeleteForwardLBListener",
            vec![
                ("loadBalanceId", "lb-abcdefgh"),
                ("listenerIds.0", "lbl-20cxbf40"),
            ],
        ),
        (
            "CreateForwardLBListenerRules",
            vec![
                ("loadBalancerId", "lb-6efswuxa"),
                ("listenerId", "lbl-20cxbf40"),
                ("rules.0.domain", "www.tencent.com"),
                ("rules.0.url", "fourth"),
                ("rules.0.sessionExpire", "211"),
                ("rules.0.healthSwitch", "0"),
                ("rules.0.httpHash", "ip_hash"),
                ("rules.1.domain", "www.ali.com"),
                ("rules.1.url", "/second"),
                ("rules.1.sessionExpire", "321"),
                ("rules.1.healthSwitch", "1"),
                ("rules.1.httpHash", "ip_hash"),
            ],
        ),
        (
            "ModifyForwardLBRulesDomain",
            vec![
                ("loadBalancerId", "lb-ltkip4do"),
                ("listenerId", "lbl-6hkiqc6c"),
                ("domain", "www.tencent.com"),
                ("newDomain", "www.qq.com"),
                // What the document's example and bk-bcs send beside it.
                ("SSLMode", "unidirectional"),
                ("locationId", "loc-mpoupana"),
            ],
        ),
        (
            "ModifyLoadBalancerRulesProbe",
            vec![
                ("loadBalancerId", "lb-6efswuxa"),
                ("listenerId", "lbl-20cxbf40"),
                ("locationId", "loc-mpoupana"),
                ("url", "/zero"),
            ],
        ),
        (
            "DeleteForwardLBListenerRules",
            vec![
                ("loadBalancerId", "lb-6efswuxa"),
                ("listenerId", "lbl-20cxbf40"),
                ("locationIds.0", "loc-mpoupana"),
            ],
        ),
        (
            "DescribeForwardLBHealthStatus",
            vec![("loadBalancerIds.0", "lb-6efswuxa")],
        ),
        (
            "DescribeForwardLBHealthStatus",
            vec![("loadBalancerId", "lb-6efswuxa")],
        ),
        (
            "DescribeForwardLBBackends",
            vec![("loadBalancerId", "lb-abcdefgh")],
        ),
        (
            "RegisterInstancesWithForwardLBSeventhListener",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("listenerId", "lbl-abcdefgh"),
                ("locationIds.0", "loc-aaaaaaaa"),
                ("backends.0.instanceId", "ins-1234test"),
                ("backends.0.port", "80"),
                ("backends.0.weight", "10"),
                ("backends.1.instanceId", "ins-5678test"),
                ("backends.1.port", "80"),
                ("backends.1.weight", "6"),
            ],
        ),
        (
            "DeregisterInstancesFromForwardLB",
            vec![
                ("loadBalancerId", "lb-0c4ypb1m"),
                ("listenerId", "lbl-68za8mki"),
                ("locationIds.0", "loc-1sgvoq0w"),
                ("backends.0.instanceId", "ins-db973yni"),
                ("backends.0.port", "10036"),
                // What the Terraform provider and bk-bcs send beside it.
                ("backends.0.weight", "10"),
            ],
        ),
        (
            "ModifyForwardSeventhBackendsPort",
            vec![
                ("loadBalancerId", "lb-abcdefgh"),
                ("listenerId", "lbl-20cxbf40"),
                ("locationIds.0", "loc-l3fd1xt2"),
                ("backends.0.instanceId", "ins-6789test"),
                ("backends.0.port", "80"),
                ("backends.0.newPort", "8080"),
            ],
        ),
        (
            "ModifyForwardSeventhBackends",
            vec![
                ("loadBalancerId", "lb-6efswuxa"),
                ("listenerId", "lbl-20cxbf40"),
                ("locationIds.0", "loc-hvzwsyqq"),
                ("locationIds.1", "loc-h8uwer1g"),
                ("backends.0.instanceId", "ins-0zsyoybo"),
                ("backends.0.port", "80"),
                ("backends.0.weight", "0"),
            ],
        ),
        (
            "DescribeRewrite",
            vec![
                ("loadBalancerIds.0", "lb-6efswuxa"),
                ("listenerIds.0", "lbl-20cxbf40"),
                ("locationIds.0", "loc-n68ar3hi"),
            ],
        ),
        (
            "ManualRewrite",
            vec![
                ("loadBalancerId", "lb-6efswuxa"),
                ("rewriteInfo.0.sourceLocation", "loc-asdmamda"),
                ("rewriteInfo.0.targetLocation", "loc-eewqfqwa"),
                ("sourceuListenerId", "lbl-xxasaad0"),
                ("targetuListenerId", "lbl-xxasaads"),
            ],
        ),
        (
            "AutoRewrite",
            vec![
                ("loadBalancerId", "lb-6efswuxa"),
                ("listenerId", "lbl-20cxbf40"),
                ("domains.0", "www.xxx.com"),
            ],
        ),
        (
            "DeleteRewrite",
            vec![
                ("loadBalancerId", "lb-6efswuxa"),
                ("sourceuListenerId", "lbl-suource0"),
                ("targetuListenerId", "lbl-xxasaads"),
                ("delRewriteInfo.0.sourceLocation", "loc-asdmamda"),
                ("delRewriteInfo.0.targetLocation", "loc-eewqfqwa"),
            ],
        ),
    ] {
        assert!(call(action, &own).is_ok(), "{action}");
    }
}
