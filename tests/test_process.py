"""What people do to scripts: stop them, pipe them, mistype them, break what they need."""

import json
import os
import re
import shutil
import signal
import threading

import pytest

from conftest import LIMIT, ROOT, SCRIPTS, executable


def wait_for(process, text):
    """Read the process's stdout up to a line with the text."""
    limit = threading.Timer(LIMIT, process.kill)
    limit.start()
    try:
        for line in process.stdout:
            if text in line:
                return
    finally:
        limit.cancel()
    pytest.fail(f"no line with {text!r}: {process.stderr.read()}")


# What a fake TensorFlow does when it is imported.
LOADED = "raise SystemExit('TensorFlow was loaded')"
LOADS_LONG = "import time; print('loading', flush=True); time.sleep(3); " + LOADED

# ------------------------------------------------------------------ stopped

# Where Ctrl-C may arrive: script, flags, the line after which it is typed. Each comes at once,
# though it is printed into a pipe.
MOMENTS = {
    "before training": ("04", ["--read_latency_ms", 60000], "TensorFlow"),  # the queue is empty
    "training": ("04", ["--steps", 10**6], "step     0"),
    "hanging for ever": ("02", ["--patience", 0], "hanging for 1 s"),
}


@pytest.mark.parametrize("moment", sorted(MOMENTS))
def test_ctrl_c(copy, moment):
    script, flags, line = MOMENTS[moment]
    process = copy.start(copy.command(script, *flags))
    wait_for(process, line)
    os.killpg(process.pid, signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert status == -signal.SIGINT  # a shell shows 130
    assert "Traceback" not in stderr
    assert not copy.timings.exists()


def test_signals_while_tensorflow_loads(copy):
    (copy.folder / "tensorflow.py").write_text(LOADS_LONG)
    process = copy.start(copy.command("01"))
    wait_for(process, "loading")
    process.send_signal(signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (-signal.SIGINT, "")

    process = copy.start(["nohup", *copy.command("01")])
    wait_for(process, "loading")
    process.send_signal(signal.SIGHUP)  # the terminal is closed
    assert "TensorFlow was loaded" in copy.finish(process)[2]


def test_broken_pipe(copy):
    process = copy.start(copy.command("04"))
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (-signal.SIGPIPE, "")


def test_closed_streams(copy):
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    process = copy.start(shell + copy.command("04", "--steps", 20))
    assert copy.finish(process)[0] == 0
    assert json.loads(copy.timings.read_text())["steps"] == 20


def test_a_terminal_without_accents(copy):
    # Python 3.6 can't print the accent in the C locale.
    logs = copy.elsewhere / "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    status, _, stderr = copy.run("04", "--steps", 20, "--log_dir", logs, env=env)
    assert (status, stderr) == (0, "")
    assert len(list(logs.iterdir())) == 1


# ------------------------------------------------------------------ mistyped


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_flags_need_no_tensorflow(copy, script):
    (copy.folder / "tensorflow.py").write_text(LOADED)
    status, stdout, stderr = copy.run(script, "--seed", "x")
    assert (status, stdout) == (2, "")
    assert stderr.count("\n") == 1
    assert "--seed" in stderr

    status, stdout, stderr = copy.run(script, "--help")
    assert (status, stderr) == (0, "")
    assert f"\n{script}: " in stdout
    assert "--seed N" in stdout
    assert stdout.count("(default:") == stdout.count("\n  --") - stdout.count("\n  --log_dir")


# ------------------------------------------------------------------ what fails while it trains

# Runs 04 and 03 in one process, each with something broken. The last error isn't caught.
BROKEN = """
import runpy, sys
import common
from support import tf

read_batch, build_model, random_normal = common.read_batch, common.build_model, tf.random_normal

def broken(generate, check):  # as generate(), after a check of the number of calls
    def checked(*args, **options):
        calls = tf.Variable(0, trainable=False)
        with tf.control_dependencies([check(calls)]):
            return tf.identity(generate(*args, **options))
    return checked

def fails(n):  # the n-th call does
    return lambda calls: tf.Assert(tf.assign_add(calls, 1) < n, ["the disk is on fire"])

def ends(n):  # after n calls
    return lambda calls: calls.count_up_to(n)

def infinite(x, y_true):
    return build_model(tf.check_numerics(x / 0.0, "x is infinite"), y_true)

def run(name, script, *flags):
    tf.reset_default_graph()
    sys.argv = [script, *map(str, flags)]
    print("BEGIN", name, flush=True)
    runpy.run_path(script, run_name="__main__")

def run_into_error(*args):
    try:
        run(*args)
    except tf.errors.OpError as error:
        print(error.message)

demo, queue = sys.argv[1:]
common.read_batch = broken(read_batch, fails(1))
run_into_error("at once", queue, "--steps", 100, "--threads", 4)
common.read_batch = broken(read_batch, fails(200))
run_into_error("with much left in the queue", queue, "--steps", 200, "--capacity", 1000)
common.read_batch = broken(read_batch, ends(50))
run_into_error("no data", queue, "--steps", 100)
common.read_batch, common.build_model = read_batch, infinite
run_into_error("training", queue, "--steps", 100)
tf.random_normal = broken(random_normal, fails(2))
run("generator", demo)
"""

FIRE = "the disk is on fire"
CLOSED = "is closed and has insufficient elements"  # the queue's own error

ERRORS = {  # the error that is shown
    "at once": FIRE,
    "with much left in the queue": FIRE,
    # By TensorFlow's custom that isn't an error; with steps left to do it is.
    "no data": CLOSED,
    "training": "x is infinite",
    "generator": FIRE,
}


def test_the_first_error_is_shown_and_no_result(copy):
    status, stdout, stderr = copy.python(BROKEN, SCRIPTS["03"], SCRIPTS["04"])
    assert status == 1
    stdout += stderr.partition("Traceback")[2]
    shown = dict(part.split("\n", 1) for part in stdout.split("BEGIN ")[1:])
    for name, message in ERRORS.items():
        assert message in shown[name]
        assert (CLOSED in shown[name]) == (message == CLOSED)
        for result in ("accuracy after", "time:", "Answer"):
            assert result not in shown[name]
        assert "step   180" not in shown[name]  # it stops at once, with batches in the queue
    assert not copy.timings.exists()


# ------------------------------------------------------------------ a TensorFlow that is missing


def test_advice_instead_of_a_traceback(copy):
    command = copy.command("04")
    status, _, stderr = copy.finish(copy.start([command[0], "-S", *command[1:]]))
    assert status == 1
    assert stderr.startswith("tensorflow is not installed in this Python. Type: make run")
    assert "pip install" in stderr
    assert stderr.count("\n") == 1


def test_no_python_is_refused_that_has_a_tensorflow(copy):
    (copy.folder / "tensorflow.py").write_text(LOADED)
    copy.append("support/python.py", "\nsys.version_info = (3, 14)\n")
    status, _, stderr = copy.run("01")
    assert (status, stderr) == (1, "TensorFlow was loaded\n")


def test_other_errors_of_the_import_are_shown_with_what_led_to_them(copy):
    fails = "import os; os.write(2, b'the reason\\n'); raise ImportError('something else')"
    (copy.folder / "tensorflow.py").write_text(fails)
    status, _, stderr = copy.run("01")
    assert status == 1
    assert stderr.startswith("the reason\n")
    assert "ImportError: something else" in stderr


# ------------------------------------------------------------------ a GPU

QUERY = "--query-gpu=utilization.gpu --format=csv,noheader,nounits -i 0000:00:04.0"

# TensorFlow computes on the CPU, but says that it has the GPU.
PRETEND = """

class Fake:
    device_type = "GPU"
    physical_device_desc = "device: 0, name: Fake GPU, pci bus id: 0000:00:04.0, capability: 7.0"

def gpu():
    return description_of_gpu([Fake])
"""


def test_gpu_utilisation_is_sampled(copy):
    executable(copy.elsewhere / "nvidia-smi", f'[ "$*" = "{QUERY}" ] && echo 40\n')
    copy.append("support/device.py", PRETEND)
    path = {"PATH": f"{copy.elsewhere}:{os.environ['PATH']}"}
    status, stdout, stderr = copy.run("01", "--steps", 100, "--read_latency_ms", 20, env=path)
    assert (status, stderr) == (0, "")
    assert "on GPU Fake GPU" in stdout
    assert re.search("^feed_dict .* GPU 40%$", stdout, re.M)


# ------------------------------------------------------------------ make

# A Python of version {0}. The environment that it makes holds another one like it, and no pip.
FAKE_PYTHON = """
case "$*" in
-V) echo Python {0} ;;
"-c import sys; print"*) echo {0} | cut -d. -f1,2 ;;
support/python.py) echo "Python {0} won't do" >&2; exit {1} ;;
"-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; touch .venv/bin/pip ;;
esac
"""


@pytest.fixture
def make(copy):
    """Runs make in the copy, with Pythons that are fakes: {name: (version, exit status)}."""
    (copy.folder / "tests").mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-cpu.txt", "tests/requirements.txt"):
        shutil.copy(str(ROOT / name), str(copy.folder / name))

    def run(pythons, *arguments, **env):
        for name, (version, unfit) in pythons.items():
            executable(copy.elsewhere / name, FAKE_PYTHON.format(version, unfit))
        env["PATH"] = f"{copy.elsewhere}:/usr/bin:/bin"
        return copy.finish(copy.start(["make", "-s", "-C", str(copy.folder), *arguments], env=env))

    return run


def test_make_takes_the_first_python_that_will_do(make):
    unfit = {f"python3.{minor}": (f"3.{minor}.0", 1) for minor in range(9, 14)}
    status, stdout, stderr = make({"python3": ("3.14.0", 1), **unfit}, ".venv/ready")
    assert (status, stdout) == (2, "")
    assert stderr.startswith("Python 3.14.0 won't do\nOr add PYTHON=/path/to/python to this")

    fit = {"python3.12": ("3.12.9", 0), "python3.11": ("3.11.2", 0)}
    made = make(fit, ".venv/ready")
    assert made == (0, "Making .venv with python3.12, Python 3.12.9\n", "")

    assert make({}, "clean") == (0, "", "")
    made = make({"python3": ("3.10.2", 0)}, ".venv/ready")
    assert made == (0, "Making .venv with python3, Python 3.10.2\n", "")


def test_make_makes_the_environment_anew_for_another_python_that_is_given(make, copy):
    pythons = {"python3": ("3.10.2", 0), "same": ("3.10.9", 0), "old": ("3.7.1", 0)}
    pythons["bad"] = ("3.14.0", 1)
    given = {name: f"PYTHON={copy.elsewhere / name}" for name in pythons}
    made = copy.folder / ".venv" / "bin" / "python"
    make(pythons, ".venv/ready")
    first = made.read_text()
    assert make({}, ".venv/ready", given["same"])[1] == ""  # another patch of the same minor
    assert make({}, ".venv/ready", given["bad"])[0] == 2
    assert make({}, ".venv/ready", "PYTHON=/nowhere/python")[0] == 2
    make({}, "-n", ".venv/ready", given["old"])  # only says what it would do
    make({}, "-n", "clean", given["old"])
    make({}, "lint-not-there", given["old"])
    assert make({}, ".venv/ready", PYTHON=str(copy.elsewhere / "old"))[1] == ""  # not ours
    assert made.read_text() == first

    status, stdout, _ = make({}, ".venv/ready", given["old"])
    assert status == 0
    assert stdout.startswith("Removing .venv, which was made with Python 3.10.\nMaking .venv")
    assert "3.7.1" in made.read_text()
    assert make({}, ".venv/ready") == (0, "", "")  # which is that of 3.7 now

    made.write_text("#!/bin/sh\nexit 127\n")  # a Python that has been removed since
    stdout = make({}, ".venv/ready")[1]
    assert stdout.startswith("Removing .venv, which was made with a Python that is gone.\nMaking")


def test_make_names_ways_to_get_python_3_6(make):
    status, stdout, stderr = make({}, "run-tf1", "PYTHON=/nowhere/python")
    assert (status, stdout) == (2, "")
    assert stderr.startswith("TensorFlow 1.0.0 needs Python 3.6: get it with 'pyenv install")
