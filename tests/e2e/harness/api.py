"""Three ways to speak to the Action API: a signing client of ours, the official SDK, bare HTTP."""

import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass

from . import signing
from .wait import until

PATH = "/v2/index.php"
IN_PROGRESS, FAILED, SUCCEEDED = 2, 1, 0


class ApiError(AssertionError):
    """An answer whose code is not 0 where success was expected."""

    def __init__(self, action, answer):
        super().__init__(f"{action}: {answer}")
        self.answer = answer
        self.code = answer.get("code")


@dataclass
class Response:
    """An HTTP answer: status, header fields with lower-case names, body."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


class Key:
    """A pair of SecretId and SecretKey."""

    def __init__(self, secret_id, secret_key):
        self.secret_id = secret_id
        self.secret_key = secret_key


class Api:
    """A client with one kept connection. Not for use by several threads: make one each."""

    def __init__(self, address, certificate, key, timeout=20.0):
        self.address = address
        self.host = f"{address[0]}:{address[1]}"
        self.key = key
        self.timeout = timeout
        self._tls = ssl.create_default_context(cafile=certificate)
        self._connection = None

    def close(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    def _connected(self):
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(*self.address, timeout=self.timeout, context=self._tls)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def exchange(self, method, target, body=None, headers=None):
        """One HTTP request on the kept connection. A connection that fails is not tried again."""
        connection = self._connected()
        try:
            connection.request(method, target, body, headers or {})
            reply = connection.getresponse()
            response = Response(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        except BaseException:
            self.close()
            raise
        if reply.will_close:
            self.close()
        return response

    def signed(self, action, params=None, method="POST", common=None):
        """The parameters of a call, signed with this client's key, as pairs."""
        key = self.key
        return signing.signed(key.secret_id, key.secret_key, method, self.host, action, params or {}, common=common)

    def send(self, pairs, method="POST"):
        """Sends pairs as they are, form-encoded."""
        encoded = signing.encode(pairs)
        if method == "GET":
            return self.exchange("GET", f"{PATH}?{encoded}")
        return self.exchange("POST", PATH, encoded, {"Content-Type": "application/x-www-form-urlencoded"})

    def answer(self, action, params=None, method="POST", common=None):
        """The decoded answer of a call, whatever its code."""
        response = self.send(self.signed(action, params, method, common), method)
        if response.status != 200:
            raise AssertionError(f"{action}: HTTP {response.status}: {response.body[:400]!r}")
        return response.json()

    def refused(self, action, params=None, code=None, starts="", **more):
        """The answer of a call that must not succeed."""
        answer = self.answer(action, params, **more)
        assert answer["code"] != 0, f"{action} {params} was accepted: {answer}"
        if code is not None:
            assert answer["code"] == code, f"{action} {params}: expected {code}: {answer}"
        assert answer["message"].startswith(starts), f"{action} {params}: expected {starts!r}: {answer}"
        assert list(answer) == ["code", "message", "codeDesc"], answer
        return answer

    def call(self, action, params=None, **more):
        """The answer of a call that must succeed."""
        answer = self.answer(action, params, **more)
        if answer["code"] != 0:
            raise ApiError(action, answer)
        return answer

    def task(self, request_id):
        """(status, message) of a task."""
        data = self.call("DescribeLoadBalancersTaskResult", {"requestId": request_id})["data"]
        return data["status"], data["message"]

    def wait_task(self, request_id, timeout=20.0):
        """(status, message) of a task once it has ended."""

        def ended():
            result = self.task(request_id)
            return result if result[0] != IN_PROGRESS else None

        return until(ended, f"task {request_id} has ended", timeout, interval=0.005)

    def done(self, action, params=None, **more):
        """The answer of an asynchronous call whose task has succeeded."""
        answer = self.call(action, params, **more)
        status, message = self.wait_task(answer["requestId"])
        assert status == SUCCEEDED, f"{action} {params}: the task failed: {message}"
        return answer

    # What nearly every test needs.

    def create_load_balancer(self, kind=2, **params):
        """(id, VIP) of a new classic instance."""
        answer = self.done("CreateLoadBalancer", {"loadBalancerType": kind, **params})
        (made,) = answer["unLoadBalancerIds"].values()
        return made[0], self.load_balancer(made[0])["loadBalancerVips"][0]

    def load_balancer(self, load_balancer_id):
        """The instance's entry in DescribeLoadBalancers."""
        (found,) = self.call("DescribeLoadBalancers", {"loadBalancerIds": [load_balancer_id]})["loadBalancerSet"]
        return found

    def create_listener(self, load_balancer_id, port, instance_port, **params):
        """The id of a new TCP listener."""
        listener = {"loadBalancerPort": port, "instancePort": instance_port, "protocol": 2, **params}
        answer = self.done("CreateLoadBalancerListeners", {"loadBalancerId": load_balancer_id, "listeners": [listener]})
        return answer["listenerIds"][0]

    def listeners(self, load_balancer_id):
        return self.call("DescribeLoadBalancerListeners", {"loadBalancerId": load_balancer_id, "limit": 1000})["listenerSet"]

    def bind(self, load_balancer_id, weights):
        """Binds backends: a dict from instanceId to weight."""
        backends = [{"instanceId": name, "weight": weight} for name, weight in weights.items()]
        return self.done("RegisterInstancesWithLoadBalancer", {"loadBalancerId": load_balancer_id, "backends": backends})

    def backends(self, load_balancer_id):
        return self.call("DescribeLoadBalancerBackends", {"loadBalancerId": load_balancer_id})["backendSet"]

    def create_application(self, **params):
        """(id, VIP) of a new application-based instance."""
        return self.create_load_balancer(forward=1, **params)

    def create_http(self, load_balancer_id, port, **params):
        """The id of a new HTTP listener of an application-based instance."""
        listener = {"loadBalancerPort": port, "protocol": 1, **params}
        answer = self.call("CreateForwardLBSeventhLayerListeners", {"loadBalancerId": load_balancer_id, "listeners": [listener]})
        return answer["listenerIds"][0]

    def create_rules(self, load_balancer_id, listener_id, *rules, **params):
        """The ids of new rules, each given as (domain, url); `params` go to all of them."""
        wanted = [{"domain": domain, "url": url, **params} for domain, url in rules]
        self.done("CreateForwardLBListenerRules", {"loadBalancerId": load_balancer_id, "listenerId": listener_id, "rules": wanted})
        return [rule["locationId"] for rule in self.rules(load_balancer_id, listener_id)[-len(rules) :]]

    def forward_listeners(self, load_balancer_id):
        return self.call("DescribeForwardLBListeners", {"loadBalancerId": load_balancer_id, "limit": 1000})["listenerSet"]

    def rules(self, load_balancer_id, listener_id):
        (listener,) = self.call("DescribeForwardLBListeners", {"loadBalancerId": load_balancer_id, "listenerIds": [listener_id]})["listenerSet"]
        return listener["rules"]

    def forward_backends(self, load_balancer_id):
        """A dict from rule id to its list of (unInstanceId or lanIp, port, weight)."""
        data = self.call("DescribeForwardLBBackends", {"loadBalancerId": load_balancer_id})["data"]
        return {
            rule["locationId"]: [(row["unInstanceId"] or row["lanIp"], row["port"], row["weight"]) for row in rule["backends"]]
            for listener in data
            for rule in listener["rules"]
        }

    def health(self, load_balancer_id):
        """A dict from (backend address, listener port) to healthStatus."""
        rows = self.call("DescribeLBHealthStatus", {"loadBalancerId": load_balancer_id})["data"]
        return {(row["ip"], row["vport"]): row["healthStatus"] for row in rows}


_sdk_environment = threading.Lock()


class Sdk:
    """The official `qcloudapi-sdk-python`, unmodified, pointed at a gateway as its users would.

    The module is called 'clb', a name that the SDK does not know: its own 'lb' module ignores
    `endpoint`. TLS is verified against the certificate named by SSL_CERT_FILE.
    """

    def __init__(self, address, certificate, key, method="GET", signature_method="HmacSHA256", region="ap-guangzhou"):
        from QcloudApi.qcloudapi import QcloudApi

        self._certificate = certificate
        self._client = QcloudApi(
            "clb",
            {
                "Region": region,
                "secretId": key.secret_id,
                "secretKey": key.secret_key,
                "method": method,
                "SignatureMethod": signature_method,
                "endpoint": f"{address[0]}:{address[1]}",
            },
        )

    def call(self, action, params=None):
        with _sdk_environment:
            before = os.environ.get("SSL_CERT_FILE")
            os.environ["SSL_CERT_FILE"] = str(self._certificate)
            try:
                return json.loads(self._client.call(action, params or {}))
            finally:
                if before is None:
                    del os.environ["SSL_CERT_FILE"]
                else:
                    os.environ["SSL_CERT_FILE"] = before

    def wait_task(self, request_id, timeout=20.0):
        """The answer of DescribeLoadBalancersTaskResult once the task has ended."""

        def ended():
            answer = self.call("DescribeLoadBalancersTaskResult", {"requestId": request_id})
            assert answer["code"] == 0, answer
            return answer if answer["data"]["status"] != IN_PROGRESS else None

        return until(ended, f"task {request_id} has ended", timeout)


class NodeSdk:
    """The official `qcloudapi-sdk` of Node.js, unmodified, in a process of its own for each list of calls."""

    def __init__(self, address, certificate, key, method="POST", signature_method="sha1", region="ap-guangzhou"):
        self._address, self._certificate = address, certificate
        self._client = {
            "SecretId": key.secret_id,
            "SecretKey": key.secret_key,
            "Region": region,
            "method": method,
            "signatureMethod": signature_method,
        }

    def calls(self, *calls):
        """The answers of calls, each a pair of Action and parameters."""
        node = pathlib.Path(sys.prefix) / "bin/node"
        modules = pathlib.Path(sys.prefix) / "node_modules"
        assert node.exists() and modules.exists(), f"no Node.js with its packages in {sys.prefix}: tests/run installs them"
        wanted = {
            "host": f"{self._address[0]}:{self._address[1]}",
            "certificate": str(self._certificate),
            "client": self._client,
            "calls": [{"Action": action, **params} for action, params in calls],
        }
        done = subprocess.run(
            [node, pathlib.Path(__file__).with_name("node_client.js")],
            input=json.dumps(wanted),
            env={**os.environ, "NODE_PATH": str(modules)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def raw_exchange(address, data, tls=None, timeout=10.0):
    """Sends bytes on a connection of its own and reads one HTTP answer.

    A server may answer and hang up before it has read everything: the answer counts.
    """
    with socket.create_connection(address, timeout=timeout) as plain:
        connection = tls.wrap_socket(plain, server_hostname=address[0]) if tls else plain
        with connection:
            try:
                connection.sendall(data)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                pass
            reply = http.client.HTTPResponse(connection)
            reply.begin()
            return Response(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
