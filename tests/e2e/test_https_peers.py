"""HTTPS and HTTP/2 with clients that nobody here wrote: openssl, curl, nghttp2's, websockets, Chromium, testssl."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading

import pytest
import websockets.sync.client
import websockets.sync.server

from harness.certs import Authority
from harness.wait import until
from harness.web import Web

HOST = "www.example.com"


class Site:
    """An HTTPS listener with an HTTP server behind it."""

    def __init__(self, gateway, ca, pair, **tls):
        self.gateway, self.api, self.ca = gateway, gateway.api(), ca
        self.balancer, vip = self.api.create_application()
        self.port = gateway.port()
        self.front = (vip, self.port)
        tls = {"protocol": 4, "SSLMode": "unidirectional", **pair.upload(), **tls}
        self.listener = self.api.create_http(self.balancer, self.port, **tls)
        self.web = Web("b1", gateway.backend_address(1), gateway.port())
        self.serve("/", gateway.backend_address(1), self.web.port)

    def serve(self, url, instance, port):
        """A rule for a path, with one backend."""
        own = {"loadBalancerId": self.balancer, "listenerId": self.listener}
        self.api.create_rules(self.balancer, self.listener, (HOST, url), healthSwitch=0)
        backends = [{"instanceId": instance, "port": port}]
        self.api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": backends, "url": url, "domain": HOST})


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path / "ca")


@pytest.fixture
def site(gateway, ca):
    made = Site(gateway, ca, ca.pair("www"))
    yield made
    made.web.close()


def run(*command, timeout=60, **more):
    """What a program says, and how it ends."""
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False, text=True, **more
    )
    return done.returncode, done.stdout


def s_client(site, *more):
    """`openssl s_client` with one request over HTTP/1.1."""
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    ip, port = site.front
    return run(
        "openssl", "s_client", "-connect", f"{ip}:{port}", "-servername", HOST, "-CAfile", site.ca.file, "-verify_return_error", "-ign_eof", *more,
        input=request,
    )  # fmt: skip


@pytest.mark.parametrize(
    "version, ciphers",
    [
        ("-tls1_3", ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"]),
        ("-tls1_2", ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]),
    ],
)
def test_versions_and_ciphers(site, version, ciphers):
    option = {"-tls1_3": "-ciphersuites", "-tls1_2": "-cipher"}[version]
    for cipher in ciphers:
        code, said = s_client(site, version, option, cipher)
        assert code == 0 and f"Cipher is {cipher}" in said and "HTTP/1.1 200 OK" in said, said
        assert "Verify return code: 0 (ok)" in said, said


def test_of_all_ciphers_the_one_with_the_cheaper_hash_is_taken(site):
    """Although this openssl would rather have AES-256."""
    for version, cipher in (("-tls1_3", "TLS_AES_128_GCM_SHA256"), ("-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256")):
        _, said = s_client(site, version)
        assert f"Cipher is {cipher}" in said, said


def test_what_is_old_is_refused(site):
    # @SECLEVEL=0 lets this openssl offer what it would not by itself.
    for version in ("-tls1", "-tls1_1"):
        code, said = s_client(site, version, "-cipher", "ALL:@SECLEVEL=0")
        assert code != 0 and re.search("alert (protocol version|handshake failure)", said), said
    for cipher in ("ECDHE-ECDSA-AES256-SHA", "AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384"):
        code, said = s_client(site, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
        assert code != 0 and "alert handshake failure" in said, said


def test_an_rsa_certificate(gateway, ca):
    site = Site(gateway, ca, ca.pair("rsa", rsa=2048))
    try:
        for version in ("-tls1_2", "-tls1_3"):
            code, said = s_client(site, version)
            assert code == 0 and "HTTP/1.1 200 OK" in said and "Server public key is 2048 bit" in said, said
    finally:
        site.web.close()


def test_clients_certificates_good_foreign_expired_and_replaced(gateway, ca, tmp_path):
    clients, foreign = Authority(tmp_path / "clients", "clients"), Authority(tmp_path / "foreign", "foreign")
    site = Site(gateway, ca, ca.pair("www"), SSLMode="mutual", certCaContent=clients.certificate, certCaName="clients")
    try:
        good, expired, unknown = clients.pair("good"), clients.pair("old", days=-1), foreign.pair("good")
        for version in ("-tls1_2", "-tls1_3"):
            for pair, alert in [(good, None), (None, "certificate required|handshake failure"), (unknown, "unknown ca"), (expired, "certificate expired")]:
                own = ["-cert", pair.certificate_file, "-key", pair.key_file] if pair else []
                code, said = s_client(site, version, *own)
                served = "HTTP/1.1 200 OK" in said
                assert served == (alert is None), (version, alert, said)
                assert alert is None or re.search(f"alert ({alert})", said), (version, alert, said)
        # Whose authority is replaced is shut out from the answer on, resumed sessions included.
        session = tmp_path / "session"
        own = ["-cert", good.certificate_file, "-key", good.key_file]
        code, said = s_client(site, "-tls1_2", *own, "-sess_out", session)
        code, said = s_client(site, "-tls1_2", *own, "-sess_in", session)
        assert "Reused, TLSv1.2" in said and "HTTP/1.1 200 OK" in said, said
        (row,) = site.api.call("DescribeForwardLBListeners", {"loadBalancerId": site.balancer})["listenerSet"]
        site.api.call("ReplaceCert", {"oldCertId": row["certCaId"], "newCertContent": foreign.certificate, "newCertName": "foreign"})
        for more in ([], ["-sess_in", session]):
            code, said = s_client(site, "-tls1_2", *own, *more)
            assert "HTTP/1.1 200 OK" not in said and "alert unknown ca" in said, said
        assert "HTTP/1.1 200 OK" in s_client(site, "-tls1_3", "-cert", unknown.certificate_file, "-key", unknown.key_file)[1]
    finally:
        site.web.close()


def test_curl_and_nghttp_over_http2(site):
    ip, port = site.front
    body = "x" * 300_000
    code, said = run(
        "curl", "-sS", "--http2", "--max-time", 20, "--cacert", site.ca.file, "--resolve", f"{HOST}:{port}:{ip}", "-w", " %{http_version} %{http_code}",
        "--data-binary", "@-", f"https://{HOST}:{port}/", input=body,
    )  # fmt: skip
    assert (code, said) == (0, "b1 2 200")
    code, said = run("nghttp", "-v", "-m", 5, "--no-verify-peer", "-H", f":authority: {HOST}:{port}", f"https://{ip}:{port}/")
    assert code == 0 and said.count(":status: 200") == 5, said


def test_h2load_has_every_request_answered(site):
    ip, port = site.front
    code, said = run("h2load", "-n", 5000, "-c", 10, "-m", 50, "-H", f":authority: {HOST}", f"https://{ip}:{port}/")
    assert code == 0 and "5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout" in said, said
    assert "Application protocol: h2" in said and "status codes: 5000 2xx" in said, said


class Echo:
    """A WebSocket server of PyPI's `websockets` that says each message again. `versions`: how clients came, by the gateway's word."""

    def __init__(self, address, port):
        self.versions = []
        self._server = websockets.sync.server.serve(self._talk, address, port)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _talk(self, connection):
        self.versions.append(connection.request.headers["X-Client-Proto-Ver"])
        with contextlib.suppress(websockets.ConnectionClosed):
            for message in connection:
                connection.send(message)

    def close(self):
        self._server.shutdown()
        self._thread.join(timeout=5)


@pytest.fixture
def echo(site):
    address, port = site.gateway.backend_address(2), site.gateway.port()
    made = Echo(address, port)
    site.serve("/chat", address, port)
    yield made
    made.close()


def test_websockets_over_tls(site, echo):
    context = ssl.create_default_context(cafile=site.ca.file)
    ip, port = site.front
    plain = socket.create_connection((ip, port), timeout=10)
    with websockets.sync.client.connect(f"wss://{HOST}:{port}/chat", sock=plain, ssl=context, max_size=None) as connection:
        for message in ["hello", "", b"\0" * 100_000, "ü" * 300_000]:
            connection.send(message)
            assert connection.recv(timeout=10) == message
        assert connection.ping().wait(timeout=10)
    assert echo.versions == ["HTTP/1.1"]


PAGE = """<!doctype html><title>clbd</title>%s
<script type=module>
const socket = new WebSocket(`wss://${location.host}/chat`);
await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
socket.send("echo");
const message = await new Promise((resolve) => { socket.onmessage = (event) => resolve(event.data); });
const resources = performance.getEntriesByType("resource").filter((one) => one.nextHopProtocol === "h2").length;
const [page] = performance.getEntriesByType("navigation");
socket.close();
await fetch("/result?" + [page.nextHopProtocol, window.loaded, resources, message].join("-"));
</script>
"""


def test_chromium_opens_a_page_over_http2(site, echo, tmp_path):
    scripts = range(30)
    site.web.pages["/page"] = ("text/html", PAGE % "".join(f'<script src="/{number}.js"></script>' for number in scripts))
    for number in scripts:
        site.web.pages[f"/{number}.js"] = ("text/javascript", f"window.loaded = {number + 1}; // {'x' * 5000}")
    ip, port = site.front
    command = [
        "chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", f"--user-data-dir={tmp_path / 'profile'}",
        f"--host-resolver-rules=MAP {HOST} {ip}", "--no-proxy-server", "--remote-debugging-port=0", f"https://{HOST}:{port}/page",
    ]  # fmt: skip
    with (tmp_path / "chromium.log").open("wb") as log:
        # It has children that outlive it.
        browser = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: [path for path in site.web.paths if path.startswith("/result")], "the page tells its result", timeout=30)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait(timeout=10)
    assert [path for path in site.web.paths if path.startswith("/result")] == ["/result?h2-30-30-echo"], site.web.paths
    # The WebSocket came in a stream of the page's connection (RFC 8441).
    assert echo.versions == ["HTTP/2"]


def test_testssl_finds_no_weakness(site, tmp_path):
    ip, port = site.front
    report = tmp_path / "report.json"
    checks = ["--protocols", "--std", "--fs", "--server-preference", "--server-defaults", "--vulnerable", "--grease"]
    run(
        "testssl", "--quiet", "--warnings", "off", "--nodns", "none", "--ip", ip, "--add-ca", site.ca.file, "--jsonfile", report, *checks, f"https://{HOST}:{port}/",
        timeout=400, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    found = json.loads(report.read_text())
    assert len(found) > 50, found
    # What testssl says of itself: of the openssl that asks, and that this one, which ends with its empty input, was gone before
    # a ticket of TLS 1.3 had come. Resumption has tests of its own.
    of_itself = [("engine_problem", None), ("sessionresumption_ticket", "WARN")]
    bad = [one for one in found if one["severity"] not in ("OK", "INFO")]
    bad = [one for one in bad if not any(one["id"] == name and severity in (None, one["severity"]) for name, severity in of_itself)]
    assert not bad, bad
