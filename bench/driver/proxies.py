"""The floor, nginx and HAProxy, each configured for a setup; see gateway.py for clbd.

Their settings are tuned alike: one thread, kept connections to the backend without a limit, the same
fields added, no access log but where that is what is measured.
"""

import os
import signal
import socket
from dataclasses import dataclass, field, replace

from harness.certs import Pair
from harness.claims import Claims

from . import machine
from .process import Process, until
from .tool import join

LARGE_BUFFERS = """    proxy_buffer_size 16k;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
"""


@dataclass
class Setup:
    """What a proxy is to serve: HTTP by rules, TCP, or UDP."""

    backend: tuple
    """(address, port)"""
    tcp: bool = False
    udp: bool = False
    more_hosts: tuple = ()
    """Addresses of more backends at the same port; for clbd and UDP."""
    rules: list = field(default_factory=lambda: [("www.example.com", "/")])
    """Pairs of domain and path prefix; unused for TCP and UDP."""
    tls: Pair | None = None
    """The certificate and its key, for HTTPS and HTTP/2."""
    logged: bool = False
    """Whether requests are logged: clbd's access log, nginx's `combined` buffered, HAProxy's `httplog` to a file."""

    large_buffers: bool = True
    """Whether nginx buffers 1 MiB of an HTTP answer in pieces of 64 KiB, or has its own buffers (8 of 4 KiB)."""

    def domains(self):
        """A dict from domain to its paths."""
        grouped = {}
        for domain, path in self.rules:
            grouped.setdefault(domain, []).append(path)
        return grouped


class Proxy:
    """A running proxy: `address` is where it serves. Subclasses know how to start and to change it."""

    kind = ""
    change_name = ""
    """What its way to add a rule is called; "" if it has none."""

    def __init__(self, name, version=""):
        self.name = name
        self.version = version
        self.address = None
        self.process = None

    def start(self, stack, bench, setup, folder):
        """Starts it with `setup`; `bench` has tool and cores. Returns itself."""
        raise NotImplementedError

    def pids(self):
        return self.process.pids()

    def control_time(self):
        """CPU seconds spent so far by what does not serve traffic."""
        return machine.run_time(self.process.pid)

    def prepare_change(self, number):
        """Makes everything ready that adds rule `number`, and returns a function that does it.

        If it has answers that promise that the change is durable, it returns when they came.
        """
        raise NotImplementedError

    def _listening(self):
        def answers():
            self.process.alive()
            with socket.socket() as probe:
                return probe.connect_ex(self.address) == 0

        until(answers, f"{self.name} listens")

    def _serving(self):
        """Datagrams come back."""

        def answers():
            self.process.alive()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.settimeout(0.1)
                probe.connect(self.address)
                try:
                    probe.send(b"anyone?")
                    return bool(probe.recv(16))
                except (ConnectionRefusedError, TimeoutError):
                    return False

        until(answers, f"{self.name} serves")


def new_rule(number):
    """(domain, path) of the rule that change `number` adds."""
    return f"new{number}.example.com", "/"


class Floor(Proxy):
    """A relay that receives and sends and looks at nothing."""

    kind = "floor"

    def start(self, stack, bench, setup, folder):
        self.process, self.address = bench.tool.serve(
            bench.cores.proxy, "floor", "--listen", "127.0.0.1:0", "--to", join(setup.backend)
        )
        return self


class Nginx(Proxy):
    """nginx with one worker."""

    kind = "nginx"
    change_name = "reload"

    def __init__(self, name, path):
        version, self._about = machine.nginx_facts(path)
        super().__init__(name, version)
        self.path = path

    def start(self, stack, bench, setup, folder):
        self.folder = folder / self.name
        (self.folder / "logs").mkdir(parents=True)
        self.setup = replace(setup, rules=list(setup.rules))
        claims = stack.enter_context(_releasing(Claims()))
        self.address = ("127.0.0.1", claims.port())
        self._configure()
        command = [self.path, "-p", f"{self.folder}/", "-e", "error.log", "-c", "nginx.conf"]
        self.process = stack.enter_context(Process(command, bench.cores.proxy, self.folder / "nginx.log"))
        self._serving() if setup.udp else self._listening()
        return self

    def _configure(self):
        (self.folder / "nginx.conf").write_text(self.configuration(), encoding="ascii")

    def configuration(self):
        module = machine.nginx_stream_module(self.path) if self.setup.tcp or self.setup.udp else ""
        body = self._stream() if self.setup.tcp or self.setup.udp else self._http()
        user = "user root root;" if os.geteuid() == 0 else ""
        return f"""{module}
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log error;
events {{ worker_connections 16384; multi_accept on; accept_mutex off; use epoll; }}
{body}"""

    def _stream(self):
        # What clbd gives its sockets.
        listen, more = "reuseport backlog=4096", "tcp_nodelay on;\n        proxy_buffer_size 64k;"
        if self.setup.udp:
            listen, more = "udp reuseport rcvbuf=4m sndbuf=4m", "proxy_timeout 90s;"
        return f"""stream {{
    access_log off;
    upstream app {{ server {join(self.setup.backend)}; }}
    server {{
        listen {join(self.address)} {listen};
        {more}
        proxy_pass app;
    }}
}}
"""

    def _http(self):
        folders = "".join(
            f"    {name}_temp_path temp-{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            if f"--without-http_{name}_module" not in self._about
        )
        tls = self.setup.tls
        listen = f"listen {join(self.address)}{' ssl http2' if tls else ''}"
        servers = []
        for domain, paths in self.setup.domains().items():
            locations = "\n".join(f"        location {path} {{ proxy_pass http://app; }}" for path in paths)
            servers.append(f"    server {{\n        {listen};\n        server_name {domain};\n{locations}\n    }}")
        return f"""http {{
{folders}{self._tls() if tls else ""}
    access_log {"access.log combined buffer=64k flush=1s" if self.setup.logged else "off"};
    tcp_nodelay on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    server_names_hash_max_size 32768;
    server_names_hash_bucket_size 128;
    client_max_body_size 0;
    client_body_buffer_size 64k;
    proxy_http_version 1.1;
    proxy_request_buffering off;
{LARGE_BUFFERS if self.setup.large_buffers else ""}    proxy_max_temp_file_size 0;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    upstream app {{
        server {join(self.setup.backend)};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{ {listen} default_server reuseport backlog=4096; return 404; }}
{chr(10).join(servers)}
}}
"""

    def _tls(self):
        # In http, so that it holds for the default server too. nginx 1.22: http2 belongs to listen.
        return f"""
    ssl_certificate {self.setup.tls.certificate_file};
    ssl_certificate_key {self.setup.tls.key_file};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:s:20m;
    ssl_session_tickets on;"""

    def prepare_change(self, number):
        self.setup.rules.append(new_rule(number))
        self._configure()
        return lambda: os.kill(self.process.pid, signal.SIGHUP)


class Haproxy(Proxy):
    """HAProxy with one thread, rules in a map."""

    kind = "haproxy"
    change_name = "reload"

    def __init__(self, name, path):
        super().__init__(name, machine.haproxy_version(path))
        self.path = path

    def start(self, stack, bench, setup, folder):
        self.folder = folder / self.name.replace(" ", "-")
        self.folder.mkdir(parents=True)
        claims = stack.enter_context(_releasing(Claims()))
        self.address = ("127.0.0.1", claims.port())
        self.map = self.folder / "rules.map"
        self.map.write_text("".join(f"{domain}{path} app\n" for domain, path in setup.rules), encoding="ascii")
        file = self.folder / "haproxy.cfg"
        file.write_text(self.configuration(setup), encoding="ascii")
        command = [self.path, "-W", "-f", file]
        self.process = stack.enter_context(Process(command, bench.cores.proxy, self.folder / "haproxy.log"))
        self._listening()
        return self

    def configuration(self, setup):
        return f"""global
    nbthread 1
{self._limits(setup)}
    maxpipes 500
{self._tls_global(setup) if setup.tls else ""}    stats socket {self.folder}/admin.sock level admin expose-fd listeners
defaults
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-keep-alive 75s
    option splice-request
    option splice-response
{self._tcp(setup) if setup.tcp else self._http(setup)}"""

    def _limits(self, setup):
        # By itself HAProxy reckons with two files a connection. Handshakes that are not finished need one, and
        # 20,000 files are enough for 10,000 of them.
        return "    maxconn 16000\n    no strict-limits" if setup.tls else "    maxconn 9000"

    def _tls_global(self, setup):
        # HAProxy wants certificate and key in one file.
        self.pem = self.folder / "certificate.pem"
        self.pem.write_text(setup.tls.certificate + setup.tls.key, encoding="ascii")
        return "    tune.ssl.cachesize 20000\n    ssl-default-bind-options ssl-min-ver TLSv1.2\n"

    def _tcp(self, setup):
        return f"""frontend front
    mode tcp
    bind {join(self.address)} backlog 4096
    default_backend app
backend app
    mode tcp
    server one {join(setup.backend)}
"""

    def _http(self, setup):
        one = len(setup.rules) == 1
        route = "default_backend app" if one else f"use_backend %[base,map_beg({self.map},none)]"
        tls = f" ssl crt {self.pem} alpn h2,http/1.1" if setup.tls else ""
        log = "    log stdout format raw local0\n    option httplog\n" if setup.logged else ""
        return f"""    mode http
{log}    option http-keep-alive
    option forwardfor
    http-reuse always
frontend front
    bind {join(self.address)} backlog 4096{tls}
    {route}
backend app
    server one {join(setup.backend)} pool-max-conn 1000
backend none
    http-request return status 404
"""

    def prepare_change(self, number):
        domain, path = new_rule(number)
        with self.map.open("a", encoding="ascii") as file:
            file.write(f"{domain}{path} app\n")
        return lambda: os.kill(self.process.pid, signal.SIGUSR2)


class HaproxyMap(Haproxy):
    """HAProxy whose rule is added to the map in memory, through its runtime socket."""

    change_name = "runtime `add map`"

    def prepare_change(self, number):
        domain, path = new_rule(number)

        def change():
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(str(self.folder / "admin.sock"))
                admin.sendall(f"add map {self.map} {domain}{path} app\n".encode())
                answer = b"".join(iter(lambda: admin.recv(4096), b"")).strip()
            if answer:
                raise RuntimeError(f"add map: {answer.decode()}")

        return change


class _releasing:
    """A `with` for claims on ports."""

    def __init__(self, claims):
        self.claims = claims

    def __enter__(self):
        return self.claims

    def __exit__(self, *_):
        self.claims.release()
