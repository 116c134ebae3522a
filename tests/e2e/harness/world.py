"""A gateway with a listener of every protocol, and clients that are at it all the time."""

import http.client
import socket
import threading
import time

from .datagrams import Server
from .web import Web

HOST = "www.example.com"


class World:
    """A gateway with a listener of every protocol and something behind each."""

    def __init__(self, gateway, ca):
        self.gateway = gateway
        self.api = gateway.api()
        self.balancer, self.vip = self.api.create_application()
        port = gateway.port()
        self.webs = [Web(f"w{number}", gateway.backend_address(number), port) for number in (1, 2)]
        self.ports = {name: gateway.port() for name in ("http", "https", "tcp", "udp")}
        self.http = self.api.create_http(self.balancer, self.ports["http"])
        self.https = self.api.create_http(self.balancer, self.ports["https"], protocol=4, SSLMode="unidirectional", **ca.pair("www").upload())
        for listener in (self.http, self.https):
            self.api.create_rules(self.balancer, listener, (HOST, "/"), healthSwitch=0)
            backends = [{"instanceId": gateway.backend_address(number), "port": port} for number in (1, 2)]
            params = {"loadBalancerId": self.balancer, "listenerId": listener, "backends": backends, "url": "/", "domain": HOST}
            self.api.done("RegisterInstancesWithForwardLBSeventhListener", params)
        echo = gateway.port()
        gateway.add_backends(3, echo)
        self.servers = [Server(f"s{number}", gateway.backend_address(number), echo) for number in (1, 2, 3)]
        for name, protocol in (("tcp", 2), ("udp", 3)):
            wanted = {"loadBalancerPort": self.ports[name], "protocol": protocol, "healthSwitch": 0}
            made = self.api.done("CreateForwardLBFourthLayerListeners", {"loadBalancerId": self.balancer, "listeners": [wanted]})
            own = {"loadBalancerId": self.balancer, "listenerId": made["listenerIds"][0]}
            backends = [{"instanceId": gateway.backend_address(number), "port": echo} for number in (1, 2, 3)]
            self.api.done("RegisterInstancesWithForwardLBFourthListener", {**own, "backends": backends})
            setattr(self, name, own)
        self.echo = echo

    def front(self, name):
        return self.vip, self.ports[name]

    def close(self):
        for web in self.webs:
            web.close()
        for server in self.servers:
            server.stop()


class Busy:
    """Something in a thread, again and again until the end; each failure is kept."""

    def __init__(self, work):
        self.work, self.count, self.failures = work, 0, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self.stopping.is_set():
            try:
                self.work()
                self.count += 1
            except Exception as error:  # whatever it is, it is a failure
                self.failures.append(f"{self.work.__qualname__}: {error!r}")
                if len(self.failures) > 20:
                    return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(20)
        assert not self.thread.is_alive(), "it hangs"


def ask_once(front):
    client = Keeping(front)
    client.ask()
    client.close()


class Keeping:
    """An HTTP client that keeps its connection as long as the gateway does, and never asks twice."""

    def __init__(self, front, tls=None, host=HOST):
        self.front, self.tls, self.host, self.connection, self.pause = front, tls, host, None, 0

    def ask(self):
        if self.connection is None:
            made = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
            self.connection = made(*self.front, timeout=10, **({"context": self.tls} if self.tls else {}))
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.request("GET", "/", headers={"Host": self.host})
        reply = self.connection.getresponse()
        body = reply.read()
        assert reply.status == 200 and body in (b"w1", b"w2"), (reply.status, body)
        if reply.will_close:
            self.connection.close()
            self.connection = None
        if self.pause:
            time.sleep(self.pause)

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None
