"""Certificates as OpenSSL makes them, and handshakes that tell which one was shown."""

import hashlib
import pathlib
import ssl
import socket
import subprocess
from dataclasses import dataclass


def openssl(*arguments, folder):
    """Runs the `openssl` program; that it is missing is a failure."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Pair:
    """A certificate and its key, as files."""

    certificate_file: pathlib.Path
    key_file: pathlib.Path

    @property
    def certificate(self):
        return self.certificate_file.read_text()

    @property
    def key(self):
        return self.key_file.read_text()

    @property
    def digest(self):
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate)).hexdigest()

    def upload(self, name="www"):
        """The parameters of a listener that bring it."""
        return {"certContent": self.certificate, "certKey": self.key, "certName": name}


class Authority:
    """A folder with a CA of its own; `pair` makes what it has signed."""

    def __init__(self, folder, name="ca"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._key(name)
        openssl("req", "-x509", "-key", f"{name}.key", "-out", f"{name}.pem", "-days", "3650", "-subj", f"/CN={name}", folder=self.folder)

    def _key(self, name, rsa=None):
        kind = ["RSA", "-pkeyopt", f"rsa_keygen_bits:{rsa}"] if rsa else ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("genpkey", "-algorithm", *kind, "-out", f"{name}.key", folder=self.folder)

    @property
    def file(self):
        return self.folder / f"{self.name}.pem"

    @property
    def certificate(self):
        return self.file.read_text()

    def pair(self, name, *names, days=365, rsa=None):
        """A certificate for these names (DNS names or addresses); its key is on P-256, or RSA of so many bits.

        One of negative `days` has ended.
        """
        self._key(name, rsa)
        kinds = [("IP:" if each[0].isdigit() else "DNS:") + each for each in names or ("www.example.com",)]
        (self.folder / "extensions").write_text(
            f"subjectAltName={','.join(kinds)}\ncrlDistributionPoints=URI:http://crl.example.com/\n"  # as public ones have
        )
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr", folder=self.folder)
        openssl(
            "x509", "-req", "-sha256", "-in", f"{name}.csr", "-CA", self.file.name, "-CAkey", f"{self.name}.key", "-CAcreateserial",
            "-days", str(days), "-extfile", "extensions", "-out", f"{name}.pem", folder=self.folder,
        )  # fmt: skip
        return Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")


def shown(address, timeout=5.0):
    """SHA-256 of the certificate that a handshake shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, timeout=timeout) as plain, context.wrap_socket(plain) as connection:
        return hashlib.sha256(connection.getpeercert(binary_form=True)).hexdigest()


def curl(address, host, authority, *more, path="/"):
    """(exit code, status, body) of one request with the program `curl` over HTTP/1.1."""
    ip, port = address
    done = subprocess.run(
        ["curl", "-sS", "--http1.1", "--max-time", "10", "--cacert", str(authority.file), "--resolve", f"{host}:{port}:{ip}",
         "-w", "\n%{http_code}", *more, f"https://{host}:{port}{path}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    return done.returncode, int(status or 0), body
