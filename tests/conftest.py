"""Runs the scripts as a reader does: as processes, from a copy, so that no test touches
the reader's own timings, and from another directory."""

import io
import math
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from support.device import cores  # noqa: E402  (after sys.path has it)

SCRIPTS = {path.name[:2]: path.name for path in ROOT.glob("0[1-9]_*.py")}

# Under nohup SIGHUP is ignored, and would be in the scripts. A handler isn't inherited.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# A test that takes longer hangs.
LIMIT = 120


@pytest.hookimpl(optionalhook=True)  # pytest may run without xdist
def pytest_xdist_auto_num_workers():
    """One test more at a time than there are cores, as some only wait."""
    return math.ceil(cores()) + 1


class Copy:
    """A copy of the scripts, in a folder with a space in its name."""

    def __init__(self, folder):
        self.folder = folder / "a copy"
        self.folder.mkdir()
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.timings = self.folder / "timings.jsonl"
        for path in ROOT.glob("*.py"):
            shutil.copy(str(path), str(self.folder))
        for package in ("support", "going_further"):
            unwanted = shutil.ignore_patterns("__pycache__", "measured")
            shutil.copytree(str(ROOT / package), str(self.folder / package), ignore=unwanted)

    def append(self, name, code):
        """Add code to the end of a file of the copy."""
        with open(str(self.folder / name), "a") as file:
            file.write(code)

    def command(self, script, *flags):
        return [sys.executable, str(self.folder / SCRIPTS[script])] + [str(flag) for flag in flags]

    def module(self, name, *flags):
        """The command for a module of going_further; it needs cwd=str(folder)."""
        command = [sys.executable, "-m", "going_further." + name]
        return command + [str(flag) for flag in flags]

    def start(self, command, env=None, **options):
        """Start a command in a process group of its own."""
        # What a developer's shell, or the make that runs the tests, may have set.
        unset = ("PYTHONUNBUFFERED", "PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL", "PYTHON", "MAKEFLAGS")
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": str(self.elsewhere)}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            universal_newlines=True,
            start_new_session=True,
            env=dict(inherited, **(env or {})),
            **dict(pipes, **options),
        )

    def run(self, script, *flags, **options):
        """Run a script to its end. Returns: (exit status, stdout, stderr)."""
        return self.finish(self.start(self.command(script, *flags), **options))

    def run_module(self, name, *flags, **options):
        """Run a module of going_further to its end, in the copy's folder."""
        return self.finish(self.start(self.module(name, *flags), cwd=str(self.folder), **options))

    def python(self, code, *args, **options):
        """Run code in the copy's folder. Returns: (exit status, stdout, stderr)."""
        command = [sys.executable, "-c", code] + [str(arg) for arg in args]
        return self.finish(self.start(command, cwd=str(self.folder), **options))

    def finish(self, process):
        """Wait for the end. Fails if that doesn't come, or leaves a process behind."""
        try:
            stdout, stderr = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("hangs: {}\n{}\n{}".format(process.args, *process.communicate()))
        deadline = time.monotonic() + 10
        while group_exists(process.pid):
            assert time.monotonic() < deadline, "a process is left behind"
            time.sleep(0.05)
        return process.returncode, stdout, stderr


def group_exists(pgid):
    try:
        os.killpg(pgid, 0)
        return True
    except ProcessLookupError:
        return False


def executable(path, code):
    """Write a shell script. Returns: its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + code)
    path.chmod(0o755)
    return path


def run_here(path, *flags, limit=LIMIT, **names):
    """Run a script here, which finds some names defined. Returns: its globals.

    It has a thread of its own, since it may hang: then multiprocessing.TimeoutError is raised.
    """
    argv, stdout = [str(path), *map(str, flags)], io.StringIO()
    with mock.patch("sys.argv", argv), mock.patch("sys.stdout", stdout), ThreadPool(1) as pool:
        return pool.apply_async(runpy.run_path, [str(path), names]).get(limit)


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


# Runs a script to its end, and tells how much memory it had resident at most (in KiB on Linux).
PEAK = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Stdout of 01, then of 04 with the flags that 01 advises; their timings; their peak memory."""
    copy = Copy(tmp_path_factory.mktemp("trained"))
    outputs, flags = {"peak_mib": {}}, ["--steps", 200]
    for script in ("01", "04"):
        status, stdout, stderr = copy.python(PEAK, copy.folder / SCRIPTS[script], *flags)
        assert (status, stderr) == (0, "")
        outputs[script], _, peak = stdout.partition("PEAK ")
        outputs["peak_mib"][script] = int(peak) / 1024
        advice = re.search(r"^To compare, run (\d\d)\S+ (--.*)$", outputs[script], re.M)
        assert bool(advice) == (script == "01")
        if advice:
            assert advice.group(1) == "04"
            flags = advice.group(2).split()
    outputs["timings"] = copy.timings.read_text()
    return outputs


@pytest.fixture(scope="session")
def demos(tmp_path_factory):
    """(stdout, stderr) of 02 and of 03."""
    copy = Copy(tmp_path_factory.mktemp("demos"))
    outputs = {}
    for script, flags in (("02", ["--patience", 2.5]), ("03", [])):
        # On TensorFlow 1.x this level would silence tf.Print.
        status, *outputs[script] = copy.run(script, *flags, env={"TF_CPP_MIN_LOG_LEVEL": "2"})
        assert status == 0
    return outputs
