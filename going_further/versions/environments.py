"""A virtual environment for each TensorFlow, in a folder that git ignores."""

import glob
import os
import shutil
import subprocess
import sys

from going_further.processes import die_with_parent
from support.paths import ROOT

FOLDER = os.path.join(ROOT, ".versions")


def prepare(releases):
    """Make the environments that are missing.

    Returns: the releases that have one. Exits with status 1 if none has.
    """
    to_make = []
    for release in releases:
        if is_made(release):
            continue
        python = find_python(release)
        if python:
            to_make.append((release, python))
        else:
            wanted = " or ".join(release.pythons)
            print(f"Left out: TensorFlow {release.version}, for there is no Python {wanted}.")
    if to_make:
        download = sum(release.download_mb for release, _ in to_make) / 1000
        disk = sum(release.disk_mb for release, _ in to_make) / 1000
        print(
            f"Environments to make: {len(to_make)}. That is {download:.1f} GB to download, and "
            f"{disk:.1f} GB in {FOLDER}."
        )
    for release, python in to_make:
        print(f"TensorFlow {release.version}, {release.download_mb} MB, with {python}")
        make(release, python)
    made = [release for release in releases if is_made(release)]
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
        try:
            subprocess.run(
                command, check=True, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent
            )
        except (OSError, subprocess.SubprocessError):
            sys.exit(
                f"No environment for TensorFlow {release.version}: see above. "
                "The next call goes on from here."
            )
    with open(_ready(release), "w"):
        pass


def _ready(release):
    return os.path.join(FOLDER, release.version, "ready")
