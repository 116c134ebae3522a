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
        self.image = image
        self._mount()

    @contextlib.contextmanager
    def frozen(self):
        """While this lasts whoever writes to it waits, in the kernel, whatever signal it gets."""
        subprocess.run([find("fsfreeze"), "--freeze", self.folder], check=True)
        try:
            yield
        finally:
            subprocess.run([find("fsfreeze"), "--unfreeze", self.folder], check=True)

    def fail(self):
        """From now on nothing can be written, as after an error of the device; files stay open."""
        # The mount options are no change and refused, but the abort is done: ext4's own way to test it.
        subprocess.run([find("mount"), "-o", "remount,abort", self.folder], check=False, capture_output=True)

    def repair(self):
        """As an operator would, once nobody has a file on it."""
        self.close()
        done = subprocess.run([find("e2fsck"), "-f", "-y", self.image], check=False, capture_output=True)
        assert done.returncode in (0, 1), done
        self._mount()

    def _mount(self):
        subprocess.run([find("mount"), "-o", "loop", self.image, self.folder], check=True)

    def close(self):
        subprocess.run([find("umount"), self.folder], check=True)
