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
    ] {
        assert!(call(action, &own).is_ok(), "{action}");
    }
}
