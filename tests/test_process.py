"""What people do to scripts: stop them, pipe them, mistype them, break what they need."""

import fcntl
import json
import os
import re
import shutil
import signal
import struct
import termios
import threading
import time

import pytest

from conftest import LIMIT, ROOT, SCRIPTS


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
LOADS_LONG = "import time; print('loading', flush=True); time.sleep({})"

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
    copy.timings.write_text("\n{}")
    process = copy.start(copy.command(script, *flags))
    wait_for(process, line)
    os.killpg(process.pid, signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert status == -signal.SIGINT  # a shell shows 130
    assert "Traceback" not in stderr
    assert copy.timings.read_text() == "\n{}"


def test_ctrl_c_while_tensorflow_loads(copy):
    (copy.folder / "tensorflow.py").write_text(LOADS_LONG.format(1000))
    process = copy.start(copy.command("01"))
    wait_for(process, "loading")
    process.send_signal(signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (-signal.SIGINT, "")


def test_nohup_survives_the_terminal(copy):
    (copy.folder / "tensorflow.py").write_text(LOADS_LONG.format(1) + "\n" + LOADED)
    process = copy.start(["nohup", *copy.command("01")])
    wait_for(process, "loading")
    process.send_signal(signal.SIGHUP)
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


def test_progress_bar_on_a_terminal(copy):
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = copy.start(copy.command("04", "--steps", 100), stderr=follower)
    status, stdout, _ = copy.finish(process)
    os.write(follower, b".")  # so that there is something to read
    shown = os.read(leader, 10**6).decode("utf-8", "replace")
    os.close(follower)
    os.close(leader)
    assert status == 0
    assert "/100 [" in shown
    assert "step   100  loss" in stdout


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


# ------------------------------------------------------------------ a reader that fails

# The read that fails, at the end of common.py: on the n-th call.
FAILS = """
_read_batch = read_batch

def read_batch(batch_size, read_latency_ms=0, latency_every=1):
    reads = tf.Variable(0, trainable=False)
    working = tf.Assert(tf.less(tf.assign_add(reads, 1), {n}), ["the disk is on fire"])
    with tf.control_dependencies([working]):
        return tf.identity(_read_batch(batch_size, read_latency_ms))
"""
ENDS = """
_read_batch = read_batch

def read_batch(batch_size, read_latency_ms=0, latency_every=1):
    reads = tf.Variable(0, trainable=False)
    with tf.control_dependencies([reads.count_up_to({n})]):
        return tf.identity(_read_batch(batch_size, read_latency_ms))
"""


@pytest.mark.parametrize(
    "n, flags",
    [
        (1, ["--steps", 100]),
        (50, ["--steps", 100, "--threads", 4]),
        (200, ["--steps", 200, "--capacity", 1000]),  # with much left in the queue
    ],
)
def test_error_of_a_reader(copy, n, flags):
    copy.append("common.py", FAILS.format(n=n))
    status, stdout, stderr = copy.run("04", *flags)
    assert status == 1
    assert "InvalidArgumentError" in stderr
    assert "the disk is on fire" in stderr
    assert "OutOfRangeError" not in stderr  # what the queue says once it is closed
    assert "accuracy after" not in stdout
    assert "time:" not in stdout
    assert "step   180" not in stdout  # it stops at once, with batches still in the queue
    assert not copy.timings.exists()


def test_reader_that_runs_out_of_data(copy):
    # By TensorFlow's custom that isn't an error; with steps left to do it is.
    copy.append("common.py", ENDS.format(n=50))
    status, stdout, stderr = copy.run("04", "--steps", 100)
    assert status == 1
    assert "OutOfRangeError" in stderr
    assert "accuracy after" not in stdout
    assert not copy.timings.exists()


def test_error_of_the_training_step(copy):
    copy.append(
        "common.py",
        "\n_build_model = build_model\n\ndef build_model(x, y_true):\n"
        "    return _build_model(tf.check_numerics(x / 0.0, 'x is infinite'), y_true)\n",
    )
    status, stdout, stderr = copy.run("04", "--steps", 100)
    assert status == 1
    assert "x is infinite" in stderr
    assert "accuracy" not in stdout


def test_error_of_the_generator_in_03(copy):
    path = copy.folder / SCRIPTS["03"]
    text = path.read_text()
    broken = text.replace(
        "summarize=6)",
        'summarize=6)\nworking = tf.Assert(call < 2, ["on fire"])\n'
        "with tf.control_dependencies([working]):\n"
        "    x_input_data = tf.identity(x_input_data)",
        1,
    )
    assert broken != text
    path.write_text(broken)
    status, stdout, stderr = copy.run("03")
    assert status == 1
    assert "on fire" in stderr
    assert "Answer" not in stdout


# ------------------------------------------------------------------ a TensorFlow that is missing


@pytest.mark.parametrize(
    "error, advice",
    [
        ("No module named 'tensorflow'", "tensorflow is not installed in this Python. Type: make"),
        ("No module named 'tqdm'", "tqdm is not installed in this Python. Type: make"),
        (
            "libcudart.so.8.0: cannot open shared object file",
            "finds no libcudart.so.8.0, a part of CUDA: see",
        ),
    ],
)
def test_advice_instead_of_a_traceback(copy, error, advice):
    (copy.folder / "tensorflow.py").write_text(f'raise ImportError("""{error}""")')
    status, _, stderr = copy.run("01")
    assert status == 1
    assert advice in stderr
    assert "pip install" in stderr
    assert stderr.count("\n") <= 2


def test_python_without_packages(copy):
    command = copy.command("04")
    status, _, stderr = copy.finish(copy.start([command[0], "-S", *command[1:]]))
    assert status == 1
    assert stderr.startswith("tensorflow is not installed in this Python. Type: make run")
    assert stderr.count("\n") == 1


# A script, on a Python that says it is of another version.
OTHER_PYTHON = """
import runpy, sys
sys.version_info = (3, int(sys.argv[1]), 0, "final", 0)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("minor", [8, 14])
def test_no_python_is_refused_that_has_a_tensorflow(copy, minor):
    (copy.folder / "tensorflow.py").write_text(LOADED)
    status, _, stderr = copy.python(OTHER_PYTHON, minor, SCRIPTS["01"])
    assert (status, stderr) == (1, "TensorFlow was loaded\n")


def test_other_errors_of_the_import_are_shown_with_what_led_to_them(copy):
    (copy.folder / "tensorflow.py").write_text(
        "import os\nos.write(2, b'the reason\\n')\nraise ImportError('something else')"
    )
    status, _, stderr = copy.run("01")
    assert status == 1
    assert stderr.startswith("the reason\n")
    assert "ImportError: something else" in stderr


def test_an_import_that_aborts_says_why(copy):
    # As TensorFlow's C++ does on a CPU without AVX.
    (copy.folder / "tensorflow.py").write_text(
        "import os\nos.write(2, b'compiled to use AVX instructions\\n')\nos.abort()"
    )
    status, _, stderr = copy.run("01")
    assert (status, stderr) == (-signal.SIGABRT, "compiled to use AVX instructions\n")


# ------------------------------------------------------------------ a GPU

NVIDIA_SMI = """#!/bin/sh
case "$*" in
*utilization.gpu*-i*0000:00:04.0*) while :; do echo 40; sleep 0.05; done ;;
*) exit 1 ;;
esac
"""

# TensorFlow computes on the CPU, but says that it has the GPU.
PRETEND = """

def gpu():
    return {"name": "Fake GPU", "pci bus id": "0000:00:04.0"}
"""


@pytest.fixture
def fake_gpu(copy):
    """A PATH on which nvidia-smi finds a GPU, 40 % busy, that TensorFlow sees."""
    script = copy.elsewhere / "nvidia-smi"
    script.write_text(NVIDIA_SMI)
    script.chmod(0o755)
    copy.append("support/device.py", PRETEND)
    return {"PATH": f"{copy.elsewhere}:{os.environ['PATH']}"}


def test_gpu_utilisation_is_sampled(copy, fake_gpu):
    status, stdout, stderr = copy.run("01", "--steps", 200, env=fake_gpu)
    assert (status, stderr) == (0, "")
    assert "on GPU Fake GPU" in stdout
    assert re.search("^feed_dict .* GPU 40%$", stdout, re.M)


def test_gpu_sampler_ends_with_the_script(copy, fake_gpu):
    process = copy.start(copy.command("01", "--steps", 10**6), env=fake_gpu)
    wait_for(process, "step     0")
    time.sleep(1)  # the sampler starts after that step
    process.send_signal(signal.SIGTERM)
    assert copy.finish(process)[0] == -signal.SIGTERM  # finish() looks for what is left behind


# ------------------------------------------------------------------ make

# A Python of version {0}. The environment that it makes holds another one like it, and no pip.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
-V) echo Python {0} ;;
support/python.py) echo "Python {0} won't do" >&2; exit {1} ;;
"-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
esac
"""


@pytest.fixture
def make(copy):
    """Runs make in the copy, with Pythons that are fakes: {name: (version, exit status)}."""
    folder = copy.elsewhere / "bin"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-cpu.txt"):
        shutil.copy(str(ROOT / name), str(copy.folder))
    (copy.folder / "tests").mkdir()
    shutil.copy(str(ROOT / "tests" / "requirements.txt"), str(copy.folder / "tests"))

    def run(pythons, *arguments):
        for name, (version, unfit) in pythons.items():
            (folder / name).write_text(FAKE_PYTHON.format(version, unfit))
            (folder / name).chmod(0o755)
        command = ["make", "-s", "-C", str(copy.folder), *arguments]
        return copy.finish(copy.start(command, env={"PATH": f"{folder}:/usr/bin:/bin"}))

    return run


NEWEST = {"python3.13": ("3.13.1", 0), "python3.12": ("3.12.9", 0)}


def test_make_takes_the_python3_that_is_there(make):
    assert make({"python3": ("3.10.2", 0), **NEWEST}, ".venv/ready") == (
        0,
        "Making .venv with python3, Python 3.10.2\n",
        "",
    )


def test_make_looks_for_another_python_and_says_which(make):
    pythons = {"python3": ("3.14.0", 1), **NEWEST, "python3.13": ("3.13.1", 1)}
    made = make(pythons, ".venv/ready")
    assert made == (0, "Making .venv with python3.12, Python 3.12.9\n", "")


def test_make_without_a_python_says_what_to_install(make):
    unfit = {f"python3.{minor}": (f"3.{minor}.0", 1) for minor in range(9, 14)}
    status, stdout, stderr = make({"python3": ("3.14.0", 1), **unfit}, ".venv/ready")
    assert (status, stdout) == (2, "")
    assert stderr.startswith("Python 3.14.0 won't do\nOr add PYTHON=/path/to/python to this")


def test_make_makes_the_environment_anew_for_another_python(make, copy):
    python = {"python3": ("3.10.2", 0), "old": ("3.7.1", 0), "bad": ("3.14.0", 1)}
    make(python, ".venv/ready")
    for name in ("python3", "bad"):
        assert make({}, ".venv/ready", f"PYTHON={copy.elsewhere / 'bin' / name}")[1] == ""
    status, stdout, _ = make({}, ".venv/ready", f"PYTHON={copy.elsewhere / 'bin' / 'old'}")
    assert status == 0
    assert stdout.startswith("Removing .venv, which was made with Python 3.10.2.\nMaking .venv")
    assert make({}, ".venv/ready") == (0, "", "")  # which is that of 3.7 now
    assert "3.7.1" in (copy.folder / ".venv" / "bin" / "python").read_text()


def test_make_names_ways_to_get_python_3_6(make):
    status, stdout, stderr = make({}, "run-tf1", "PYTHON=/nowhere/python")
    assert (status, stdout) == (2, "")
    assert stderr.startswith("TensorFlow 1.0.0 needs Python 3.6: get it with 'pyenv install")
