"""A disk that stops taking anything for as long as a test wants."""

import contextlib
import pathlib
import subprocess

from .tools import find


class Disk:
    """An ext4 of its own in an image, on a loop device; needs root."""

    def __init__(self, image, folder, megabytes=64):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run([find("mkfs.ext4"), "-q", "-F", image], check=True)
        subprocess.run([find("mount"), "-o", "loop", image, self.folder], check=True)

    @contextlib.contextmanager
    def frozen(self):
        """While this lasts whoever writes to it waits, in the kernel, whatever signal it gets."""
        subprocess.run([find("fsfreeze"), "--freeze", self.folder], check=True)
        try:
            yield
        finally:
            subprocess.run([find("fsfreeze"), "--unfreeze", self.folder], check=True)

    def close(self):
        subprocess.run([find("umount"), self.folder], check=True)
