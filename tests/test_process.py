"""What people do to scripts: stop them, pipe them, mistype them, break their files."""

import fcntl
import json
import os
import re
import signal
import stat
import struct
import subprocess
import sys
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
    pytest.fail("no line with {!r}: {}".format(text, process.stderr.read()))


# Where a signal may arrive: script, flags, the line after which it is sent.
MOMENTS = {
    "before training": ("04", ["--read_latency_ms", 60000], "TensorFlow"),  # the queue is empty
    "01 training": ("01", ["--steps", 10**6], "step     0"),
    "04 training": ("04", ["--steps", 10**6], "step     0"),
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
    assert status == 130
    assert "Stopped by SIGINT." in stderr
    assert "Traceback" not in stderr
    assert copy.timings.read_text() == "\n{}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals(copy, number):
    process = copy.start(copy.command("04", "--read_latency_ms", 60000))
    wait_for(process, "TensorFlow")
    process.send_signal(number)
    status, _, stderr = copy.finish(process)
    assert status == 128 + number
    assert "Traceback" not in stderr


def test_ctrl_c_while_tensorflow_loads(copy):
    (copy.folder / "tensorflow.py").write_text(
        "import time; print('loading', flush=True); time.sleep(1000)"
    )
    process = copy.start(copy.command("01"))
    wait_for(process, "loading")
    process.send_signal(signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert status == 130
    assert "Traceback" not in stderr


def test_nohup_survives_the_terminal(copy):
    process = copy.start(["nohup"] + copy.command("02", "--patience", 4))
    wait_for(process, "hanging for 1 s")
    process.send_signal(signal.SIGHUP)
    assert copy.finish(process)[0] == 0


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_broken_pipe(copy, script):
    process = copy.start(copy.command(script))
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    status, _, stderr = copy.finish(process)
    assert status == -signal.SIGPIPE
    assert "Traceback" not in stderr
    assert "Exception" not in stderr


def test_each_line_is_printed_at_once_into_a_pipe(copy):
    process = copy.start(copy.command("02", "--patience", 0))
    wait_for(process, "hanging for 1 s")  # would else come with the first 8 KiB
    process.kill()
    copy.finish(process)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(copy, closed):
    shell = ["sh", "-c", 'exec "$@" ' + closed, "sh"]
    process = copy.start(shell + copy.command("04", "--steps", 20))
    assert copy.finish(process)[0] == 0
    assert json.loads(copy.timings.read_text())["steps"] == 20


def test_two_copies_at_once(copy):
    processes = [copy.start(copy.command(script, "--steps", 50)) for script in ("01", "04")]
    for process in processes:
        assert copy.finish(process)[0] == 0
    runs = [json.loads(line) for line in copy.timings.read_text().split("\n") if line]
    assert sorted(run["variant"][:5] for run in runs) == ["feed_", "queue"]


BAD_FLAGS = [
    ("01", ["--steps", "0"], "--steps"),
    ("01", ["--steps", "-5"], "--steps"),
    ("01", ["--steps", "many"], "--steps"),
    ("01", ["--steps", "1.5"], "--steps"),
    ("01", ["--steps"], "--steps"),
    ("01", ["--step", "5"], "--step"),  # no abbreviations
    ("01", ["--threads", "2"], "--threads"),  # 04's
    ("01", ["extra"], "extra"),
    ("01", ["--batch_size", "0"], "--batch_size"),
    ("01", ["--batch_size", "100000000"], "--batch_size"),
    ("01", ["--read_latency_ms", "-1"], "--read_latency_ms"),
    ("01", ["--read_latency_ms", "nan"], "--read_latency_ms"),
    ("01", ["--read_latency_ms", "inf"], "--read_latency_ms"),
    ("01", ["--seed", "-1"], "--seed"),
    ("02", ["--patience", "-1"], "--patience"),
    ("02", ["--patience", "1e300"], "--patience"),
    ("03", ["--seed", "x"], "--seed"),
    ("04", ["--threads", "0"], "--threads"),
    ("04", ["--capacity", "0"], "--capacity"),
    ("01", ["--log_dir", ""], "--log_dir"),
    ("04", ["--log_dir", "/dev/null/logs"], "--log_dir"),
]


@pytest.mark.parametrize("script, flags, name", BAD_FLAGS)
def test_bad_flags_are_refused_before_tensorflow_is_loaded(copy, script, flags, name):
    (copy.folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    status, stdout, stderr = copy.run(script, *flags)
    assert (status, stdout) == (2, "")
    assert stderr.count("\n") == 1
    assert name in stderr


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_help_needs_no_tensorflow(copy, script):
    (copy.folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    status, stdout, stderr = copy.run(script, "--help")
    assert (status, stderr) == (0, "")
    assert script + ":" in stdout
    assert "--seed N" in stdout
    assert stdout.count("(default:") == stdout.count("\n  --") - stdout.count("\n  --log_dir")


DAMAGED = {
    "text": b"not json\n",
    "binary": b"\x00\xff\xfe garbage \x80\n",
    "list": b"[1, 2]\n",
    "keys missing": b'{"steps": 20}\n',
    "torn": b'{"steps": 20, "batch_size": 128, "read_la',
    "deep": b"[" * 100000,
}


@pytest.mark.parametrize("damage", sorted(DAMAGED))
def test_damaged_timings_cost_a_warning(copy, damage):
    content = DAMAGED[damage]
    copy.timings.write_bytes(content)
    status, stdout, stderr = copy.run("01", "--steps", 20)
    assert status == 0
    assert re.match(r"Warning: 1 of 1 lines of .*timings.jsonl are damaged.*\n$", stderr)
    assert re.search(r"^feed_dict +1 ", stdout, re.M)
    assert copy.timings.read_bytes().startswith(content)  # nothing of it is lost
    assert json.loads(copy.timings.read_text(errors="replace").split("\n")[-1])["steps"] == 20


def test_unusable_timings_cost_a_warning(copy):
    copy.timings.mkdir()
    status, stdout, stderr = copy.run("01", "--steps", 20)
    assert status == 0
    assert [line.split(":")[0] for line in stderr.splitlines()] == ["Warning", "Warning"]
    assert re.search(r"^feed_dict +1 ", stdout, re.M)


# The read that fails, at the end of common.py: on the n-th call.
FAILS = """
_read_batch = read_batch

def read_batch(batch_size, read_latency_ms=0):
    reads = tf.Variable(0, trainable=False)
    working = tf.Assert(tf.less(tf.assign_add(reads, 1), {n}), ["the disk is on fire"])
    with tf.control_dependencies([working]):
        return tf.identity(_read_batch(batch_size, read_latency_ms))
"""
ENDS = """
_read_batch = read_batch

def read_batch(batch_size, read_latency_ms=0):
    reads = tf.Variable(0, trainable=False)
    with tf.control_dependencies([reads.count_up_to({n})]):
        return tf.identity(_read_batch(batch_size, read_latency_ms))
"""


@pytest.mark.parametrize(
    "n, flags",
    [
        (1, ["--steps", 100]),
        (50, ["--steps", 100]),
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


@pytest.mark.parametrize(
    "error, advice",
    [
        ("No module named 'tensorflow'", "tensorflow is not installed in this Python. Type: make"),
        ("No module named 'tqdm'", "tqdm is not installed in this Python. Type: make"),
        ("libcudart.so.8.0: cannot open shared object file", "needs CUDA 8, cuDNN 5.1"),
    ],
)
def test_advice_instead_of_a_traceback(copy, error, advice):
    (copy.folder / "tensorflow.py").write_text('raise ImportError("""{}""")'.format(error))
    status, _, stderr = copy.run("01")
    assert status == 1
    assert advice in stderr
    assert "pip install" in stderr
    assert stderr.count("\n") <= 2


def test_python_without_packages(copy):
    command = copy.command("04")
    status, _, stderr = copy.finish(copy.start(command[:1] + ["-S"] + command[1:]))
    assert status == 1
    assert stderr.startswith("tensorflow is not installed in this Python. Type: make run")
    assert stderr.count("\n") == 1


def test_other_errors_of_the_import_are_shown(copy):
    (copy.folder / "tensorflow.py").write_text("raise ImportError('something else')")
    status, _, stderr = copy.run("01")
    assert status == 1
    assert "ImportError: something else" in stderr


NVIDIA_SMI = """#!/bin/sh
case "$*" in
*utilization.gpu*-i*0000:00:04.0*) while :; do echo 40; sleep 0.05; done ;;
*query-gpu=name*) echo "Fake GPU" ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def fake_gpu(copy):
    """A PATH on which nvidia-smi finds a GPU, 40 % busy."""
    script = copy.elsewhere / "nvidia-smi"
    script.write_text(NVIDIA_SMI)
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    return {"PATH": "{}:{}".format(copy.elsewhere, os.environ["PATH"])}


# TensorFlow computes on the CPU, but says that it has the GPU.
PRETEND = """
import runpy, sys
import common
sys.argv = sys.argv[1:]
common._gpu = lambda: {"name": "Fake GPU", "pci bus id": "0000:00:04.0"}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_gpu_utilisation_is_sampled(copy, fake_gpu):
    status, stdout, stderr = copy.python(PRETEND, SCRIPTS["01"], "--steps", 200, env=fake_gpu)
    assert (status, stderr) == (0, "")
    assert "on GPU Fake GPU" in stdout
    assert re.search("^feed_dict .* GPU 40%$", stdout, re.M)


def test_gpu_sampler_ends_with_the_script(copy, fake_gpu):
    command = [sys.executable, "-c", PRETEND, SCRIPTS["01"], "--steps", str(10**6)]
    process = copy.start(command, cwd=str(copy.folder), env=fake_gpu)
    wait_for(process, "step     0")
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert copy.finish(process)[0] == 143  # finish() looks for what is left behind


def test_gpu_that_tensorflow_does_not_see(copy, fake_gpu):
    env = dict(fake_gpu, CUDA_VISIBLE_DEVICES="0")
    status, stdout, _ = copy.run("01", "--steps", 1, env=env)
    assert status == 0
    assert "nvidia-smi finds a GPU, Fake GPU, that TensorFlow does not see.\nTo use it" in stdout

    env = dict(fake_gpu, CUDA_VISIBLE_DEVICES="")  # hidden on purpose
    _, stdout, _ = copy.run("01", "--steps", 1, env=env)
    assert "nvidia-smi" not in stdout


def test_progress_bar_on_a_terminal_only(copy):
    assert copy.run("04", "--steps", 100)[2] == ""  # into a pipe
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


def test_make_names_ways_to_get_python_3_6():
    command = ["make", "-s", "-C", str(ROOT), "-W", "requirements-cpu.txt", "run-tf1"]
    make = subprocess.run(
        command + ["PYTHON=/nowhere/python"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert make.returncode != 0
    assert make.stdout == ""
    assert make.stderr.startswith("TensorFlow 1.0.0 needs Python 3.6: get it with 'pyenv install")
