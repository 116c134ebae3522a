"""HTTP servers behind the gateway, and a plain client before it."""

import collections
import http.client
import http.server
import threading


class Web:
    """An HTTP/1.1 server that answers its name, whatever it is asked. `status` may be changed while it runs, and `probed`, that of /health.
    `pages` has what is answered instead: (media type, content) by path.

    `asked` counts requests by Host, `paths` by target, `probes` those of the gateway's health checks as (method, path, host).
    """

    def __init__(self, name, address, port):
        self.name, self.port = name, port
        self.status = self.probed = 200
        self.pages = {}
        self.asked = collections.Counter()
        self.paths = collections.Counter()
        self.probes = collections.Counter()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                if self.headers["User-Agent"] == "clbd-health":
                    web.probes[self.command, self.path, self.headers["Host"]] += 1
                else:
                    web.asked[self.headers["Host"]] += 1
                    web.paths[self.path] += 1
                kind, page = web.pages.get(self.path, (None, web.name))
                body = page.encode()
                self.send_response(web.probed if self.path == "/health" else web.status)
                if kind:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_POST = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, *_):
                pass  # a client that hung up

        self._server = Server((address, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def get(address, host, path="/", timeout=5.0):
    """(status, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
