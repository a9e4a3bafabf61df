"""A virtual environment for each TensorFlow that is compared, in a folder that git ignores."""

import argparse
import glob
import os
import shutil
import subprocess
import sys
import typing

from going_further import processes
from support.python import ROOT

FOLDER = os.path.join(ROOT, ".versions")


class Release(typing.NamedTuple):
    """A TensorFlow.

    Attributes:
      version: as pip names it.
      pythons: those it can have, the one it was tried with first.
      needs: what else pip is to install, or to keep out.
    """

    version: str
    pythons: list
    needs: list


# With a newer NumPy the first of them warn at length.
_OLD = ["numpy<1.17"]
# A newer protobuf refuses what their code was generated with.
_MIDDLE = ["protobuf<3.21"]

RELEASES = {
    release.version: release
    for release in (
        Release("1.0.0", ["3.6"], _OLD),
        Release("1.4.1", ["3.6"], _OLD),
        Release("1.5.1", ["3.6"], _OLD),
        Release("1.8.0", ["3.6"], _OLD),
        Release("1.12.3", ["3.6"], _OLD),
        Release("1.15.5", ["3.7", "3.6"], _MIDDLE),
        Release("2.0.4", ["3.7", "3.6"], _MIDDLE),
        Release("2.4.4", ["3.8", "3.7", "3.6"], _MIDDLE),
        Release("2.13.1", ["3.8", "3.9", "3.10", "3.11"], []),
        Release("2.16.2", ["3.11", "3.9", "3.10", "3.12"], []),
        Release("2.21.0", ["3.11", "3.10", "3.12", "3.13"], []),
    )
}


def releases(text):
    """An argparse type: versions of TensorFlow, with commas between."""
    unknown = set(text.split(",")) - set(RELEASES)
    if unknown:
        raise argparse.ArgumentTypeError(f"knows {', '.join(RELEASES)}, not '{unknown.pop()}'")
    return [RELEASES[version] for version in dict.fromkeys(text.split(","))]


def prepare(wanted):
    """Make the environments that are missing.

    Returns: the releases that have one. Exits with status 1 if none has.
    """
    for release in wanted:
        python = None if is_made(release) else find_python(release)
        if python:
            print(f"Making an environment for TensorFlow {release.version}, {python}")
            make(release, python)  # up to 0.7 GB to download, and 2 GB on the disk
        elif not is_made(release):
            pythons = " or ".join(release.pythons)
            print(f"Left out: TensorFlow {release.version}, which needs Python {pythons}.")
    made = [release for release in wanted if is_made(release)]
    if not made:
        sys.exit("There is nothing to compare.")
    return made


def python_of(release):
    """The interpreter of a release's environment, whether it is there or not."""
    return os.path.join(FOLDER, release.version, "bin", "python")


def is_made(release):
    """Whether a release's environment is there, as a whole."""
    return os.path.exists(_ready(release)) and os.path.exists(python_of(release))


def find_python(release):
    """An interpreter of a version that a release can have: from PATH or pyenv. None without one."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for version in release.pythons:
        candidates = [shutil.which("python" + version)]
        candidates += glob.glob(os.path.join(pyenv, "versions", version + ".*", "bin", "python"))
        for candidate in filter(None, candidates):
            if _version(candidate) == version:
                return candidate
    return None


def _version(python):
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        done = subprocess.check_output([python, "-c", code], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):  # pyenv has commands for Pythons it won't run
        return None
    return done.decode("ascii", "replace").strip()


def make(release, python):
    """Make a release's environment anew. Exits with status 1, after pip's words, if that fails."""
    folder = os.path.join(FOLDER, release.version)
    shutil.rmtree(folder, ignore_errors=True)
    pip = [python_of(release), "-m", "pip", "install", "--quiet"]
    commands = [[python, "-m", "venv", folder]]
    if _version(python) == "3.6":  # its own pip picks wheels that it can't install
        commands.append([*pip, "pip==21.3.1"])
    commands.append([*pip, "tensorflow==" + release.version, "tqdm>=4.64.1,<5", *release.needs])
    for command in commands:
        name = f"No environment for TensorFlow {release.version}. The next call goes on from here"
        processes.run_silently(command, name)
    with open(_ready(release), "w"):
        pass


def _ready(release):
    return os.path.join(FOLDER, release.version, "ready")
