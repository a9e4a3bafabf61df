"""Files that are read from the disk, and not from what the system has kept of them in memory."""

import os
import sys

import common


class Cold:
    """A variant whose files are dropped from the page cache before each turn.

    What it reads a second time within a turn comes from there all the same. Its turns also tell
    "disk_mb_per_s".

    Args:
      variant: the variants.Variant.
      paths: its files.
    """

    def __init__(self, variant, paths):
        self._variant, self._paths = variant, paths

    def turn(self, steps):
        """As Variant.turn()."""
        drop_from_cache(self._paths)
        start = read_from_disk()
        with common.Clock() as clock:
            turn = self._variant.turn(steps)
        return dict(turn, disk_mb_per_s=(read_from_disk() - start) / 1e6 / clock.seconds)


def check(paths):
    """Exit with status 1 and one line if what is dropped isn't read from a disk again."""
    try:
        drop_from_cache(paths)
        start = read_from_disk()
        with open(paths[0], "rb") as file:
            file.read(2**20)
        read = read_from_disk() - start
    except (AttributeError, KeyError, OSError) as error:  # another system, or a strict container
        sys.exit(f"--cold doesn't work here: {error}")
    if not read:
        sys.exit(f"--cold doesn't work here: nothing is read from a disk for {paths[0]}")


def drop_from_cache(paths):
    """Let the system forget what it has of these files in memory. Needs no rights."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)  # what isn't written yet would stay
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def read_from_disk():
    """How many bytes this process has had read from a disk so far (Linux)."""
    with open("/proc/self/io") as file:
        return int(dict(line.split(": ") for line in file)["read_bytes"])
