"""Scripts that are stopped, piped, or mistyped, or whose data or TensorFlow is broken."""

import os
import re
import signal
import sys
import threading
import time

import pytest

from conftest import LIMIT, SCRIPTS, executable


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


# Code of a fake TensorFlow.
LOADED = "raise SystemExit('TensorFlow was loaded')"
LOADS_LONG = "import time; print('loading', flush=True); time.sleep(3); " + LOADED

# ------------------------------------------------------------------ stopped

# Runs a script. When it gets SIGUSR1, it writes the stacks of its threads to a file.
WRITES_STACKS = """
import faulthandler, os, runpy, signal, sys
faulthandler.register(signal.SIGUSR1, open(sys.argv[1], "w"))
sys.argv = sys.argv[2:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_ctrl_c_ends_a_script_that_is_blocked_in_a_dequeue(copy):
    where, flags = copy.elsewhere / "where", ["--read_latency_ms", "60000"]
    command = [sys.executable, "-c", WRITES_STACKS, str(where), *copy.command("04", *flags)[1:]]
    process = copy.start(command)
    wait_for(process, "TensorFlow")  # Before that line, SIGUSR1 would end it.
    in_session = r"/session\.py.* in \w+\n(  File .*\n)*"
    blocked = re.compile(in_session + r"  File .*04_\S+ line \d+ in train$", re.M)
    deadline = time.monotonic() + LIMIT
    while not blocked.search(where.read_text()):  # The first batch would come after 60 s.
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (-signal.SIGINT, "")


# Other moments for Ctrl-C: the script, its flags, and the line of output after which it's typed.
# The script flushes each line, so the line arrives at once.
MOMENTS = {
    "training": ("04", ["--steps", 10**6], "step     0"),
    "hanging forever": ("02", ["--patience", 0], "hanging for 1 s"),
}


@pytest.mark.parametrize("moment", sorted(MOMENTS))
def test_ctrl_c_ends_a_script_without_a_traceback(copy, moment):
    script, flags, line = MOMENTS[moment]
    process = copy.start(copy.command(script, *flags))
    wait_for(process, line)
    os.killpg(process.pid, signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert status == -signal.SIGINT  # A shell shows 130.
    assert "Traceback" not in stderr
    assert "resource_tracker" not in stderr
    assert not copy.timings.exists()


def test_a_script_whose_parent_ignores_ctrl_c_ignores_it_too(copy):
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *copy.command("04", "--steps", 300)]
    process = copy.start(command)
    wait_for(process, "step     0")
    os.killpg(process.pid, signal.SIGINT)
    assert copy.finish(process)[0] == 0
    assert copy.timings.exists()


# Runs scripts as IPython's %run does: all in one process, in which sys.ps1 is set.
INTERACTIVE = """
import runpy, signal, sys
sys.ps1 = "In : "
for script in sys.argv[1:]:
    sys.argv = [script] + ["--steps", "20"] * (script[:2] in ("01", "04"))
    runpy.run_path(script, run_name="__main__")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
"""


def test_scripts_run_one_after_the_other_in_a_notebook(copy):
    scripts = [SCRIPTS[name] for name in ("01", "04", "03", "03", "01")]
    status, stdout, stderr = copy.python(INTERACTIVE, *scripts)
    assert status == 0, stderr
    assert stdout.count("Answer: numbers were generated 3 times (counted).") == 2
    assert stdout.count("Background threads that were started: 2\n") == 2


def test_ctrl_c_and_nohup_work_while_tensorflow_loads(copy):
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


def test_a_broken_pipe_ends_a_script_without_a_message(copy):
    process = copy.start(copy.command("04"))
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (-signal.SIGPIPE, "")


def test_a_name_that_the_terminal_cannot_show_is_escaped(copy):
    timings = copy.elsewhere / "\N{CJK UNIFIED IDEOGRAPH-65E5}.jsonl"
    timings.write_text("damaged")
    env = {"PYTHONIOENCODING": "latin-1"}
    status, _, stderr = copy.run("01", "--steps", 20, "--timings", timings, env=env)
    assert status == 0, stderr
    assert "\\u65e5.jsonl are damaged" in stderr


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
    assert stdout.count("(default:") == stdout.count("\n  --")


# ------------------------------------------------------------------ errors of a script

# Runs 04 and 03 in one process, each with something broken. The last error isn't caught.
BROKEN = """
import runpy, sys
import common
from support import tf

read_batch, build_model, random_normal = common.read_batch, common.build_model, tf.random_normal

def broken(generate, check):  # Returns generate() with a check of the number of calls.
    def checked(*args, **options):
        calls = tf.Variable(0, trainable=False)
        with tf.control_dependencies([check(calls)]):
            return tf.identity(generate(*args, **options))
    return checked

def fails(n):  # The n-th call fails.
    return lambda calls: tf.Assert(tf.assign_add(calls, 1) < n, ["the disk is on fire"])

def ends(n):  # The data ends after n calls.
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
    # In 04, the end of the data is an error, because there are steps left.
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
        for result in ("accuracy after", "time:", "Answer:"):
            assert result not in shown[name]
        assert "step   180" not in shown[name]  # It stops at once, though the queue has batches.
    assert not copy.timings.exists()


# ------------------------------------------------------------------ an import that fails


ABORTS = "import os; os.write(2, b'no AVX\\n'); os.abort()"
FAILS = "import os; os.write(2, b'the reason\\n'); raise ImportError('something else')"


def test_stderr_of_tensorflow_is_shown_if_its_import_fails(copy):
    fake = copy.folder / "tensorflow.py"
    for code, status, lines in ((ABORTS, -signal.SIGABRT, ["no AVX"]), (FAILS, 1, ["the reason"])):
        fake.write_text(code)
        ended, _, stderr = copy.run("01")
        assert (ended, stderr.splitlines()[:1]) == (status, lines)
    assert "ImportError: something else" in stderr

    # If you ask for TensorFlow's log messages, you get them.
    (copy.folder / "tensorflow.py").write_text("import os; os.write(2, b'a detail\\n'); " + LOADED)
    assert "a detail" not in copy.run("01")[2]
    assert "a detail" in copy.run("01", env={"TF_CPP_MIN_LOG_LEVEL": "0"})[2]


# ------------------------------------------------------------------ a GPU

QUERY = "--query-gpu=utilization.gpu --format=csv,noheader,nounits -i 0000:00:04.0"

# TensorFlow trains on the CPU, but describes a GPU.
PRETEND = """

class Fake:
    device_type = "GPU"
    physical_device_desc = "device: 0, name: Fake GPU, pci bus id: 0000:00:04.0, capability: 7.0"

def gpu():
    return first_gpu([Fake])
"""


def test_gpu_utilization_is_sampled(copy):
    executable(copy.elsewhere / "nvidia-smi", f'[ "$*" = "{QUERY}" ] && echo 40\n')
    copy.append("support/device.py", PRETEND)
    path = {"PATH": f"{copy.elsewhere}:{os.environ['PATH']}"}
    status, stdout, stderr = copy.run("01", "--steps", 100, "--read_latency_ms", 20, env=path)
    assert (status, stderr) == (0, "")
    assert "on GPU Fake GPU" in stdout
    assert re.search(r"^feed_dict\*? .* GPU 40%$", stdout, re.M)
