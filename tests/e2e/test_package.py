"""The Debian package: built, installed, run, upgraded, removed and purged in a fresh root."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from harness.claims import Claims
from harness.gateway import ROOT, binary
from harness.tools import find
from harness.wait import until
from test_clbctl import program


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False, **more)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def mirror():
    """Where this machine gets Debian's packages from, and which Debian it is."""
    sites = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return sites[0], release["VERSION_CODENAME"]


class Root:
    """A Debian of its own in a folder."""

    def __init__(self, folder):
        self.folder = folder
        site, codename = mirror()
        run(find("debootstrap"), "--variant=minbase", "--include=adduser,procps,systemd", codename, folder, site)
        run("mount", "--bind", "/proc", folder / "proc")

    def __call__(self, *command, user=None):
        return run(find("chroot"), *([f"--userspec={user}"] if user else []), self.folder, *command)

    def path(self, path):
        return self.folder / path.lstrip("/")

    def has(self, path):
        return self.path(path).exists()

    def close(self):
        run("umount", self.folder / "proc")
        shutil.rmtree(self.folder)


@pytest.fixture
def root(tmp_path):
    made = Root(tmp_path / "root")
    yield made
    made.close()


@pytest.fixture
def claims():
    made = Claims()
    yield made
    made.release()


def package(folder, version=None):
    """The package, or one that says it is of another version."""
    built = run(ROOT / "deploy/deb", folder, env={**os.environ, "CLBD": str(binary()), "CLBCTL": str(program())}).splitlines()[-1]
    if version is None:
        return pathlib.Path(built)
    again = folder / "again"
    run("dpkg-deb", "--raw-extract", built, again)
    control = again / "DEBIAN/control"
    lines = [f"Version: {version}" if line.startswith("Version:") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    run("dpkg-deb", "--root-owner-group", "--build", again, folder / f"clbd_{version}.deb")
    return folder / f"clbd_{version}.deb"


def test_installed_run_upgraded_removed_and_purged(root, claims, tmp_path):
    shutil.copy(package(tmp_path / "built"), root.path("/clbd.deb"))
    root("dpkg", "-i", "/clbd.deb")
    assert "ii  clbd" in root("dpkg", "-l", "clbd")
    assert root("dpkg-query", "-W", "-f", "${Conffiles}", "clbd").split()[0] == "/etc/clbd/clb.toml"
    assert root("getent", "passwd", "clbd")
    state = root.path("/var/lib/clbd").stat()
    assert state.st_mode & 0o777 == 0o700 and state.st_uid != 0
    for path in ("/usr/bin/clbd", "/usr/bin/clbctl", "/usr/share/man/man8/clbd.8.gz", "/usr/share/man/man5/clb.toml.5.gz", "/usr/share/man/man1/clbctl.1.gz"):
        assert root.has(path) or path.startswith("/usr/share/man"), path  # minimal roots leave manual pages out
    # systemd has nothing to say against the unit.
    assert root("systemd-analyze", "verify", "/usr/lib/systemd/system/clbd.service").strip() == ""
    assert root.path("/etc/systemd/system/multi-user.target.wants/clbd.service").is_symlink()

    # As the unit starts it, with ports that are free here.
    config = root.path("/etc/clbd/clb.toml")
    api, admin = claims.port(), claims.port()
    text = config.read_text().replace("127.0.0.1:8443", f"127.0.0.1:{api}").replace("127.0.0.1:9180", f"127.0.0.1:{admin}")
    network = claims.network()
    config.write_text(text.replace("127.10.0.0/16", f"{network}.0/25").replace("127.11.0.0/16", f"{network}.128/25"))
    as_user = [find("chroot"), "--userspec=clbd:clbd", str(root.folder)]
    root("clbd", "--config", "/etc/clbd/clb.toml", "--check", user="clbd:clbd")
    running = subprocess.Popen([*as_user, "clbd", "--config", "/etc/clbd/clb.toml"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        ask = ["clbctl", "--endpoint", f"https://127.0.0.1:{api}", "--certificate", "/var/lib/clbd/api.pem", "--credentials", "/var/lib/clbd/credentials.toml"]
        until(lambda: subprocess.run([*as_user, *ask, "get"], capture_output=True, check=False).returncode == 0, "the API answers", 20, interval=0.1)
        root(*ask, "create-load-balancer", "--load-balancer-type", "2", user="clbd:clbd")
        assert "lb-" in root(*ask, "get", user="clbd:clbd")
        backup = root("clbctl", "backup", "--state-dir", "/var/lib/clbd", "/var/lib/clbd/backup", user="clbd:clbd")
        assert "objects" in backup
    finally:
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=30)
    assert running.returncode == 0, said

    # Another version: what the operator has changed stays, and so does the state.
    changed = config.read_text()
    shutil.copy(package(tmp_path / "again", "99.0"), root.path("/clbd.deb"))
    root("dpkg", "-i", "/clbd.deb")
    assert config.read_text() == changed and root.has("/var/lib/clbd/state.db")
    root("dpkg", "-r", "clbd")
    assert not root.has("/usr/bin/clbd") and config.read_text() == changed and root.has("/var/lib/clbd/state.db")
    root("dpkg", "-P", "clbd")
    assert not root.has("/etc/clbd") and not root.has("/var/lib/clbd")
