"""Helpers that run the scripts as a reader does, as processes, but in a copy, so that no test
touches the reader's own timings."""

import io
import math
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from support.device import cores  # noqa: E402  (needs the sys.path of the line above)

SCRIPTS = {path.name[:2]: path.name for path in ROOT.glob("0[1-9]_*.py")}

# nohup ignores SIGHUP, and the scripts would inherit that. They don't inherit a handler.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# A script that takes longer than this, in seconds, hangs.
LIMIT = 120


@pytest.hookimpl(optionalhook=True)  # pytest may run without xdist
def pytest_xdist_auto_num_workers():
    """Returns one more than the number of cores, because some tests only wait."""
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
        for package in ("support", "going_further", "benchmarks"):
            unwanted = shutil.ignore_patterns("__pycache__", "results")
            shutil.copytree(str(ROOT / package), str(self.folder / package), ignore=unwanted)

    def append(self, name, code):
        """Add code to the end of a file of the copy."""
        with open(str(self.folder / name), "a") as file:
            file.write(code)

    def command(self, script, *flags):
        return [sys.executable, str(self.folder / SCRIPTS[script])] + [str(flag) for flag in flags]

    def module(self, name, *flags):
        """Returns the command that runs a module. It needs cwd=str(folder)."""
        return [sys.executable, "-m", name] + [str(flag) for flag in flags]

    def start(self, command, env=None, **options):
        """Start a command in its own process group."""
        # A developer's shell, or the make that runs the tests, may have set these variables.
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
        """Run a module to its end, in the copy's folder."""
        return self.finish(self.start(self.module(name, *flags), cwd=str(self.folder), **options))

    def python(self, code, *args, **options):
        """Run code in the copy's folder. Returns: (exit status, stdout, stderr)."""
        command = [sys.executable, "-c", code] + [str(arg) for arg in args]
        return self.finish(self.start(command, cwd=str(self.folder), **options))

    def finish(self, process):
        """Wait until a process ends. The test fails if it hangs, or leaves a process behind."""
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


class Hangs(Exception):  # noqa: N818
    """Raised if a script stays blocked in a call of TensorFlow, or in join()."""


def run_here(path, *flags, **names):
    """Run a script in a thread of this process. `names` are globals that it finds defined.

    Returns: the script's globals. Raises: Hangs, or the script's own error.
    """
    result, error, last, since = [], [], None, time.monotonic()

    def run():
        try:
            result.append(runpy.run_path(str(path), names))
        except BaseException as raised:
            error.append(raised)

    argv, stdout = [str(path), *map(str, flags)], io.StringIO()
    with mock.patch("sys.argv", argv), mock.patch("sys.stdout", stdout):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.05)
            call = blocking_call(sys._current_frames().get(thread.ident))
            if call is None or call != last:
                last, since = call, time.monotonic()
            if time.monotonic() - since > 3:  # Each call of these scripts takes a few ms.
                raise Hangs
    if error:
        raise error[0]
    return result[0]


def blocking_call(frame):
    """Returns an id of the call in which a thread may be blocked, or None.

    Args:
      frame: the thread's innermost frame.
    """
    innermost = frame
    while frame is not None:
        code = frame.f_code
        if code.co_filename.endswith("coordinator.py") and code.co_name == "join":
            return id(frame)  # It calls Thread.join() again and again.
        frame = frame.f_back
    # sess.run() blocks in one of these two functions. The second one is 1.0.0's.
    runs = innermost and innermost.f_code.co_name in ("_call_tf_sessionrun", "_run_fn")
    return (id(innermost), innermost.f_lasti) if runs else None


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


# Runs a script to its end, and prints its peak resident memory (in KiB on Linux).
PEAK = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Stdout of 01 and of 04, the timings that they save, and their peak memory."""
    copy = Copy(tmp_path_factory.mktemp("trained"))
    outputs = {"peak_mib": {}}
    for script in ("01", "04"):
        status, stdout, stderr = copy.python(PEAK, copy.folder / SCRIPTS[script], "--steps", 200)
        assert (status, stderr) == (0, "")
        outputs[script], _, peak = stdout.partition("PEAK ")
        outputs["peak_mib"][script] = int(peak) / 1024
    outputs["timings"] = copy.timings.read_text()
    return outputs


@pytest.fixture(scope="session")
def demos(tmp_path_factory):
    """(stdout, stderr) of 02 and of 03."""
    copy = Copy(tmp_path_factory.mktemp("demos"))
    outputs = {}
    for script, flags in (("02", ["--patience", 2.5]), ("03", [])):
        # On TensorFlow 1.x, this level would silence tf.Print if the script didn't change it.
        status, *outputs[script] = copy.run(script, *flags, env={"TF_CPP_MIN_LOG_LEVEL": "2"})
        assert status == 0
    return outputs
