"""Names, order and JSON types of the fields of each answer.

A shape is a type (int, str, bool), a list with one shape (array of such), a list of pairs (object
with exactly these keys in this order), or a function from the value to its shape.
"""

ENVELOPE = [("code", int), ("message", str), ("codeDesc", str)]
REQUEST_ID = [("requestId", int)]

LOAD_BALANCER = [
    ("loadBalancerId", str),
    ("unLoadBalancerId", str),
    ("loadBalancerName", str),
    ("loadBalancerType", int),
    ("domain", str),
    ("loadBalancerVips", [str]),
    ("status", int),
    ("createTime", str),
    ("statusTime", str),
    ("vpcId", int),
    ("uniqVpcId", str),
    ("subnetId", int),
    ("projectId", int),
    ("forward", int),
    ("snat", bool),
    ("openBgp", int),
    ("isolation", int),
    ("log", str),
]

_CLASSIC_LISTENER = [
    ("listenerId", str),
    ("loadBalancerPort", int),
    ("instancePort", int),
    ("protocol", int),
    ("status", int),
    ("listenerName", str),
    ("unListenerId", str),
    ("sessionExpire", int),
    ("healthSwitch", int),
    ("timeOut", int),
    ("intervalTime", int),
    ("healthNum", int),
    ("unhealthNum", int),
]
TCP_LISTENER = [*_CLASSIC_LISTENER, ("scheduler", str)]
HTTP_LISTENER = [*_CLASSIC_LISTENER, ("httpCode", int), ("httpCheckPath", str), ("httpHash", str)]


TLS = [("SSLMode", str), ("certId", str), ("certCaId", str)]
HTTPS_LISTENER = [*HTTP_LISTENER, *TLS]


def classic_listener(row):
    return {1: HTTP_LISTENER, 4: HTTPS_LISTENER}.get(row.get("protocol"), TCP_LISTENER)


RULE = [
    ("locationId", str),
    ("domain", str),
    ("url", str),
    ("httpHash", str),
    ("sessionExpire", int),
    ("healthSwitch", int),
    ("timeOut", int),
    ("intervalTime", int),
    ("healthNum", int),
    ("unhealthNum", int),
    ("httpCode", int),
    ("httpCheckPath", str),
    ("httpCheckDomain", str),
    ("httpCheckMethod", str),
]

_REDIRECT_TO = [("targetuListenerId", str), ("targetuLocationId", str), ("bAutoCreated", int)]


def rule(row):
    return RULE + (_REDIRECT_TO if "targetuLocationId" in row else [])


REWRITE = [
    ("uListenerId", str),
    ("uLocationId", str),
    ("domain", str),
    ("url", str),
    ("httpGzip", bool),
    ("httpHash", str),
    ("keep_time", int),
    *_REDIRECT_TO,
    (
        "health",
        [
            ("healthNum", int),
            ("httpCheckPath", str),
            ("httpCode", int),
            ("intervalTime", int),
            ("switch", int),
            ("timeOut", int),
            ("unhealthNum", int),
        ],
    ),
]

_FORWARD_START = [("loadBalancerPort", int), ("protocol", int), ("protocolType", str), ("listenerId", str)]
_FORWARD_END = [("listenerName", str), ("addTimestamp", str), ("rules", [rule])]


def forward_listener(row):
    return _FORWARD_START + (TLS if row.get("protocol") == 4 else []) + _FORWARD_END


_USER_START = [("unListenerId", str), ("listenerName", str), ("loadBalancerPort", int)]
_USER_SETTINGS = [
    ("sessionExpire", int),
    ("healthSwitch", int),
    ("timeOut", int),
    ("intervalTime", int),
    ("healthNum", int),
    ("unhealthNum", int),
    ("httpHash", str),
    ("httpCode", int),
]


def certificate_user(row):
    classic = "instancePort" in row
    port = [("instancePort", int)] if classic else []
    return _USER_START + port + [("protocol", int), *TLS] + (_USER_SETTINGS if classic else [])


def certificate_users(row):
    user = [("LBName", str), ("loadBalancerId", str), ("region", str), ("listener", [certificate_user])]
    return [(certificate, [user]) for certificate in row]


FORWARD_BACKEND = [
    ("instanceName", str),
    ("lanIp", str),
    ("wanIpSet", [str]),
    ("instanceStatus", int),
    ("port", int),
    ("weight", int),
    ("unInstanceId", str),
    ("addTimestamp", str),
    ("targetType", str),
]

FORWARD_BACKENDS = [
    ("loadBalancerPort", int),
    ("protocol", int),
    ("protocolType", str),
    ("listenerId", str),
    ("rules", [[("locationId", str), ("backends", [FORWARD_BACKEND]), ("domain", str), ("url", str)]]),
]

FORWARD_HEALTH = [
    ("loadBalancerName", str),
    ("unLoadBalancerId", str),
    (
        "listener",
        [
            [
                ("listenerId", str),
                ("listenerName", str),
                ("protocol", int),
                ("loadBalancerPort", int),
                (
                    "rules",
                    [
                        [
                            ("locationId", str),
                            ("domain", str),
                            ("url", str),
                            ("backends", [[("ip", str), ("port", int), ("healthStatus", int)]]),
                        ]
                    ],
                ),
            ]
        ],
    ),
]

BACKEND = [
    ("instanceId", str),
    ("unInstanceId", str),
    ("instanceName", str),
    ("lanIp", str),
    ("wanIpSet", [str]),
    ("instanceStatus", int),
    ("weight", int),
]

HEALTH_ROW = [("ip", str), ("protocol", str), ("port", int), ("vport", int), ("healthStatus", int)]

BY_INSTANCE = [
    ("loadBalancerId", str),
    ("unLoadBalancerId", str),
    ("loadBalancerName", str),
    ("loadBalancerType", int),
    ("domain", str),
    ("loadBalancerVips", [str]),
    ("createTime", str),
    ("status", int),
    ("sessionExpire", int),
    ("instanceId", str),
    ("unInstanceId", str),
    ("instanceName", str),
    ("backendLanIp", str),
    ("backendWanIpSet", [str]),
    ("vpcId", int),
    ("subnetId", int),
    ("projectId", int),
]

HEALTH_PARAMETERS = [("switch", int), ("timeOut", int), ("intervalTime", int), ("healthNum", int), ("unhealthNum", int)]

LOG_INTS = {"connection_requests", "bytes_sent", "request_length", "tcpinfo_rtt"}
LOG_NUMBERS = {"request_time", "upstream_connect_time", "upstream_response_time"}
LOG_ROW = (
    "server_name request remote_addr upstream_addr upstream_header_time connection_requests ssl_cipher remote_port time_local http_host "
    "server_addr bytes_sent upstream_status protocol_type ssl_handshake_time request_time upstream_connect_time request_length "
    "ssl_session_reused tcpinfo_rtt upstream_response_time ssl_protocol status http_user_agent"
).split()


def log_row(value):
    """A number where there is one, "-" where there was no backend."""

    def kind(name):
        return int if name in LOG_INTS else type(value[name]) if name in LOG_NUMBERS and (value[name] == "-" or type(value[name]) in (int, float)) else str

    return [(name, kind(name)) for name in LOG_ROW]


def number_or_null(value):
    return type(value) if type(value) in (int, float, type(None)) else int


ANSWERS = {
    "InquiryLBPrice": [("price", int)],
    "DescribeLoadBalancers": [("loadBalancerSet", [LOAD_BALANCER]), ("totalCount", int)],
    "DeleteLoadBalancers": REQUEST_ID,
    "DescribeLoadBalancersTaskResult": [("data", [("status", int), ("message", str)])],
    "GetCertListWithLoadBalancer": [("certSet", certificate_users)],
    "DescribeLoadBalancerLog": [("logInfo", [("logList", [log_row]), ("total", int)])],
    "GetMonitorData": [("metricName", str), ("startTime", str), ("endTime", str), ("period", int), ("dataPoints", [number_or_null])],
    "ReplaceCert": [],
    "CreateForwardLBFourthLayerListeners": [("requestId", int), ("listenerIds", [str])],
    "ModifyForwardLBFourthListener": REQUEST_ID,
    "RegisterInstancesWithForwardLBFourthListener": REQUEST_ID,
    "DeregisterInstancesFromForwardLBFourthListener": REQUEST_ID,
    "ModifyForwardFourthBackendsPort": REQUEST_ID,
    "ModifyForwardFourthBackendsWeight": REQUEST_ID,
    "ModifyForwardLBSeventhListener": REQUEST_ID,
    "ModifyLoadBalancerAttributes": REQUEST_ID,
    "CreateLoadBalancerListeners": [("requestId", int), ("listenerIds", [str])],
    "DescribeLoadBalancerListeners": [("listenerSet", [classic_listener]), ("totalCount", int)],
    "ModifyLoadBalancerListener": REQUEST_ID,
    "DeleteLoadBalancerListeners": REQUEST_ID,
    "RegisterInstancesWithLoadBalancer": REQUEST_ID,
    "DescribeLoadBalancerBackends": [("totalCount", int), ("backendSet", [BACKEND])],
    "ModifyLoadBalancerBackends": REQUEST_ID,
    "DeregisterInstancesFromLoadBalancer": REQUEST_ID,
    "DescribeLBHealthStatus": [("data", [HEALTH_ROW])],
    "DescribeLoadBalancersByInstances": [("totalCount", int), ("loadBalancerSet", [BY_INSTANCE])],
    "DescribeLBHealth": [("data", [[("projectId", int), ("LBName", str), ("health", HEALTH_PARAMETERS)]])],
    "ModifyLBHealth": [("requestId", int), ("data", [("taskId", int)])],
    "ModifyForwardLBName": [],
    "DescribeForwardLBListeners": [("listenerSet", [forward_listener]), ("totalCount", int)],
    "CreateForwardLBSeventhLayerListeners": [("listenerIds", [str])],
    "DeleteForwardLBListener": REQUEST_ID,
    "CreateForwardLBListenerRules": REQUEST_ID,
    "ModifyForwardLBRulesDomain": REQUEST_ID,
    "ModifyLoadBalancerRulesProbe": REQUEST_ID,
    "DeleteForwardLBListenerRules": REQUEST_ID,
    "DescribeForwardLBHealthStatus": [("data", [FORWARD_HEALTH])],
    "DescribeForwardLBBackends": [("data", [FORWARD_BACKENDS])],
    "RegisterInstancesWithForwardLBSeventhListener": REQUEST_ID,
    "DeregisterInstancesFromForwardLB": REQUEST_ID,
    "ModifyForwardSeventhBackendsPort": REQUEST_ID,
    "ModifyForwardSeventhBackends": REQUEST_ID,
    "DescribeRewrite": [("data", [("RewriteSet", [REWRITE])])],
    "ManualRewrite": REQUEST_ID,
    "AutoRewrite": REQUEST_ID,
    "DeleteRewrite": REQUEST_ID,
}


def check(value, shape, where="answer"):
    """Raises AssertionError unless `value` has exactly this shape."""
    if callable(shape) and not isinstance(shape, type):
        shape = shape(value)
    if isinstance(shape, type):
        assert type(value) is shape, f"{where} is {value!r}, not {shape.__name__}"
    elif isinstance(shape[0], tuple):
        assert isinstance(value, dict), f"{where} is {value!r}, not an object"
        assert list(value) == [name for name, _ in shape], f"{where} has the keys {list(value)}"
        for name, inner in shape:
            check(value[name], inner, f"{where}.{name}")
    else:
        assert isinstance(value, list), f"{where} is {value!r}, not an array"
        for index, item in enumerate(value):
            check(item, shape[0], f"{where}[{index}]")


def check_success(action, answer):
    """The envelope of a success and the Action's fields."""
    if action == "CreateLoadBalancer":  # unLoadBalancerIds has a key that only the answer knows
        check({k: v for k, v in answer.items() if k != "unLoadBalancerIds"}, ENVELOPE + [("requestId", int), ("dealIds", [str])])
        assert list(answer)[-1] == "unLoadBalancerIds", list(answer)
        assert answer["dealIds"] == [str(answer["requestId"])], answer
        check(answer["unLoadBalancerIds"], [(answer["dealIds"][0], [str])], "answer.unLoadBalancerIds")
    else:
        check(answer, ENVELOPE + ANSWERS[action])
    assert (answer["code"], answer["message"], answer["codeDesc"]) == (0, "", "Success"), answer
    return answer


CODE_NAMES = {
    4000: {"InvalidParameter"},
    4100: {"AuthFailure"},
    4101: {"AuthFailure.UnauthorizedOperation"},
    4104: {"AuthFailure.SecretIdNotFound"},
    4400: {"RequestLimitExceeded"},
    4500: {"ReplayAttack"},
    4600: {"UnsupportedProtocol"},
    5000: {"ResourceNotFound"},
    5100: {"ResourceOpFailed"},
    5200: {"ResourceInsufficient"},
    6000: {"InternalError"},
    6100: {"InvalidAction"},
    6200: {"ServiceUnavailable"},
}


def check_error(answer):
    """The envelope of an error: three keys, a known code with its name, a message that says something."""
    check(answer, ENVELOPE)
    assert answer["code"] in CODE_NAMES, answer
    assert answer["codeDesc"] in CODE_NAMES[answer["code"]], answer
    assert answer["message"].strip(), answer
    return answer
