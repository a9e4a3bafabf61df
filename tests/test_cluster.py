"""A task's flags, clusters of real processes and what they survive, and their launcher."""

import contextlib
import math
import os
import re
import signal
import socket
import sys
import time

import numpy as np
import pytest

from cluster_tools import SEEN, STARTS, Cluster, Task, network_fixture  # noqa: F401
from conftest import ROOT, Copy, executable, group_exists
from going_further import records
from going_further.cluster import membership
from going_further.cluster.task import find_checkpoint
from support import tf

pytestmark = pytest.mark.xdist_group("cluster")


def until(condition, limit=20):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# ------------------------------------------------------------------ a task's flags

LOCAL = ["--ps_hosts", "127.0.0.1:2222", "--worker_hosts", "127.0.0.1:2223,127.0.0.1:2224"]


def task(job, index):
    return ["--job_name", job, "--task_index", str(index)]


REFUSED = {  # flags, exit status, what the line names
    "nothing said": ([], 2, "--job_name"),
    "index missing": (["--job_name", "ps", *LOCAL], 2, "--task_index"),
    "no such job": (task("chief", 0) + LOCAL, 2, "--job_name"),
    "no such worker": (task("worker", 2) + LOCAL, 2, "worker 2"),
    "no such ps": (task("ps", 1) + LOCAL, 2, "ps 1"),
    "negative": (task("ps", -1) + LOCAL, 2, "--task_index"),
    "no port": (["--ps_hosts", "localhost"], 2, "--ps_hosts"),
    "port 0": (["--ps_hosts", "localhost:0"], 2, "--ps_hosts"),
    "port 65536": (["--ps_hosts", "localhost:65536"], 2, "--ps_hosts"),
    "a URL": (["--ps_hosts", "grpc://localhost:2222"], 2, "--ps_hosts"),
    "empty": (["--worker_hosts", ""], 2, "--worker_hosts"),
    "twice": (["--worker_hosts", "a:1,a:1"], 2, "--worker_hosts"),
    "both": (task("ps", 0) + ["--ps_hosts", "a:1", "--worker_hosts", "a:1"], 2, "the same HOST"),
    "no such host": (
        task("ps", 0) + LOCAL[:2] + ["--worker_hosts", "nowhere.invalid:2222"],
        1,
        "worker 0 (nowhere.invalid:2222)",
    ),
    "folder": (task("worker", 0) + LOCAL + ["--checkpoint_dir", "/dev/null/x"], 2, "--checkpoint"),
}


def refusal(monkeypatch, capsys, flags):
    """(status, text) of a refusal. An exit with a text has status 1, and Python prints the text."""
    monkeypatch.setattr(sys, "argv", ["distributed_training.py", *flags])
    with pytest.raises(SystemExit) as caught:
        membership.parse("")
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    code = caught.value.code
    return (code, stderr) if isinstance(code, int) else (1, stderr + code + "\n")


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_flags_are_refused(monkeypatch, capsys, case):
    flags, expected, named = REFUSED[case]
    status, text = refusal(monkeypatch, capsys, flags)
    assert (status, text.count("\n")) == (expected, 1)
    assert named in text


def test_port_in_use(monkeypatch, capsys):
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        hosts = ["--ps_hosts", f"127.0.0.1:{port}", "--worker_hosts", "127.0.0.1:1"]
        status, text = refusal(monkeypatch, capsys, task("ps", 0) + hosts)
    assert (status, text.count("\n")) == (1, 1)
    assert f"ps 0 can't serve on port {port}" in text


def test_refused_before_tensorflow_loads(copy):
    (copy.folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    command = copy.module("cluster.distributed_training", *REFUSED["no such host"][0])
    status, stdout, stderr = copy.finish(copy.start(command, cwd=str(copy.folder)))
    assert (status, stdout, stderr.count("\n")) == (1, "", 1)
    assert "nowhere.invalid" in stderr


def test_an_address_of_ipv6():
    assert membership.Member({"ps": ["[::1]:2222"]}, "ps", 0).address("ps", 0) == ("::1", 2222)


# ------------------------------------------------------------------ what a cluster survives


def make_files(folder, n, examples=20):
    folder.mkdir()
    for number in range(n):
        with tf.python_io.TFRecordWriter(str(folder / f"{number}.tfrecord")) as writer:
            for _ in range(examples):
                writer.write(records.example(np.ones(1024, np.float32), 1))
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, network):
    """The Cluster of all tests below. Each starts what it needs and doesn't find running."""
    copy = Copy(tmp_path_factory.mktemp("cluster"))
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(socket.socket())) for _ in range(4)]
        for one in sockets:
            one.bind(("", 0))
        ports = [one.getsockname()[1] for one in sockets]
    made = Cluster(copy, network, ports, make_files(copy.elsewhere / "data", 7))
    yield made
    made.stop()


def is_lost(worker, what):
    """That a worker ends within seconds, with one line that names what is lost and what to do."""
    status, lines = worker.finish(20)
    assert status == 1, lines
    assert re.match(f"lost {what}. To go on from the last checkpoint, start again what", lines[-1])
    assert sum("lost" in line for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


def named(cluster, name):
    return re.escape(f"{name} ({cluster.hosts[name]})")


def test_a_worker_waits_for_the_ps_and_for_the_chief(cluster):
    cluster.stop()
    worker = cluster.start("worker 1")
    worker.wait_for(f"^waiting for {named(cluster, 'ps 0')}$")
    cluster.start("ps 0")
    worker.wait_for(f"^waiting for {named(cluster, 'worker 0')} to start$")
    chief = cluster.start("worker 0")
    for one, share in ((chief, 3), (worker, 2)):  # of the files 0, 3, 6 and 1, 4
        one.goes_on()
        assert one.lines[0] == f"reads {share} of 7 files, each 1000000 times"
        assert not any("tensorflow/" in line for line in one.lines)


def test_a_worker_is_killed_and_its_reader_fails_and_it_joins_again(cluster, tmp_path):
    _, chief, worker = cluster.revive("ps 0", "worker 0", "worker 1")
    worker.goes_on()
    worker.kill()

    damaged = make_files(tmp_path / "damaged", 5, 40) / "1.tfrecord"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(bytes(data))
    # Reads so slow that a step waits for the batch which never comes, as at the files' end.
    flags = ("--batch_size", 5, "--shuffle_examples", 0, "--read_latency_ms", 200)
    worker = cluster.start("worker 1", "--data_dir", damaged.parent, "--epochs", 1, *flags)
    status, lines = worker.finish()
    assert status == 1
    assert lines[-1] == f"{damaged}: record 21 is damaged"
    assert not any("seen" in line or "Traceback" in line for line in lines)
    chief.goes_on()

    worker = cluster.start("worker 1")
    assert int(worker.wait_for(STARTS).group(1)) > 0
    worker.goes_on()
    chief.goes_on()
    assert not any("lost" in line for line in chief.lines)


def test_the_chief_is_lost(cluster):
    _, chief, worker = cluster.revive("ps 0", "worker 0", "worker 1")
    worker.goes_on()
    until(cluster.checkpoint)
    chief.kill()
    is_lost(worker, named(cluster, "worker 0"))


def test_the_ps_is_lost_then_all_goes_on_and_the_chief_ends_last(cluster):
    ps, chief, worker = cluster.revive("ps 0", "worker 0", "worker 1")
    worker.goes_on()
    until(cluster.checkpoint)
    # One worker sees that the ps is gone. To the other one, which is stopped meanwhile, all tasks
    # answer as before.
    worker.process.send_signal(signal.SIGSTOP)
    ps.kill()
    is_lost(chief, named(cluster, "ps 0"))
    kept = cluster.checkpoint()
    assert kept
    cluster.start("ps 0")
    chief = cluster.start("worker 0", "--data_dir", cluster.data, "--epochs", 1)
    slower = cluster.start("worker 2", "--data_dir", cluster.data, "--epochs", 30)
    # The other worker may be some steps ahead by the time at which the chief prints.
    assert int(chief.wait_for(STARTS).group(1)) >= kept
    slower.wait_for(STARTS)
    chief.wait_for(f"^waiting for .*{named(cluster, 'worker 2')} to end$")
    worker.process.send_signal(signal.SIGCONT)
    is_lost(worker, "the ps, which runs again")

    seen = []
    for one in (slower, chief):
        status, lines = one.finish()
        assert status == 0, lines
        seen.append(int(re.search(SEEN, "\n".join(lines), re.M).group(1)))
    assert seen == [30 * 2 * 20, 3 * 20]
    (last,) = re.findall(r"^steps of the cluster: (\d+); of", "\n".join(slower.lines), re.M)
    assert cluster.checkpoint() == int(last)
    # Batches of 16: nothing after the checkpoint was lost or trained twice.
    assert int(last) == kept + math.ceil(seen[0] / 16) + math.ceil(seen[1] / 16)

    # A worker that comes too late needs no chief.
    late = cluster.start("worker 1", "--steps", last)
    status, lines = late.finish()
    assert status == 0, lines
    assert lines[-1] == f"steps of the cluster: {last} of {last}; of this worker: 0"


def test_a_damaged_checkpoint(cluster, tmp_path):
    cluster.revive("ps 0")
    if not cluster.checkpoint():
        cluster.revive("worker 0")
        until(cluster.checkpoint)
    cluster.tasks["worker 0"].kill()
    folder = cluster.checkpoint_dir
    latest = os.path.basename(tf.train.latest_checkpoint(str(folder)))
    (data,) = folder.glob(latest + ".data*")
    data.write_bytes(b"damaged")
    before = sorted(folder.glob("model*"))
    status, lines = cluster.start("worker 0").finish()
    assert status == 1
    assert str(folder) in lines[-1]
    assert "name another --checkpoint_dir" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    assert sorted(folder.glob("model*")) == before

    # The file that names the latest one is damaged.
    (folder / "checkpoint").write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="name another --checkpoint_dir"):
        find_checkpoint(str(folder))
    assert find_checkpoint(None) is None
    assert find_checkpoint(str(tmp_path)) is None


def test_too_few_files(cluster, tmp_path):
    cluster.stop()
    few = make_files(tmp_path / "few", 2)
    status, lines = cluster.start("worker 1", "--data_dir", few).finish()
    assert status == 1
    assert lines == [f"{few} has too few files: 2 for 3 workers."]


# ------------------------------------------------------------------ the launcher


@pytest.fixture
def launch(copy):
    """Starts going_further.cluster, whose processes are all of its process group."""
    started = []

    def start(*flags, **options):
        started.append(Task(copy, copy.module("cluster", "--batch_size", 16, *flags), **options))
        return started[-1]

    yield start
    for one in started:
        if group_exists(one.process.pid):
            os.killpg(one.process.pid, signal.SIGKILL)


def nothing_left_of(launcher):
    until(lambda: not group_exists(launcher.process.pid), 10)
    return True


def test_a_launched_worker_trains_as_04_does_and_cannot_be_reached(launch, copy, network):
    # What a process prints need not be text.
    copy.append("common.py", "import os\nos.write(1, b'caf\\xe9 \\xff\\n')\n")
    flags = ("--steps", 40, "--seed", 7, "--read_latency_ms", 30)
    exposed = () if network else ("--exposed",)
    env = {"LC_ALL": "C", "http_proxy": "http://127.0.0.1:9"}
    launcher = launch("--workers", 1, *flags, *exposed, env=env)
    if network:
        launcher.wait_for("^The cluster has a network of its own, which nothing else can reach.$")
        launcher.wait_for("^ps 0: serving on port 2222 ")
        pid = launcher.process.pid  # a ps is a child, in the same network
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        with open(f"/proc/{pid}/net/route") as file:
            assert len(file.readlines()) == 1  # the heading: there is no way out, nor in
    status, lines = launcher.finish()
    assert status == 0, lines
    assert nothing_left_of(launcher)
    assert sum(line.endswith("caf\\xe9 \\xff") for line in lines) == 2

    start = "worker 0: "
    text = "\n".join(line[len(start) :] for line in lines if line.startswith(start))
    drawn = re.compile(r"^(?:accuracy before|step .*)$", re.M)
    _, alone, _ = copy.run("04", "--batch_size", 16, *flags, errors="replace")
    assert len(drawn.findall(text)) == 10
    assert drawn.findall(text) == drawn.findall(alone)[:-1]  # of 41 steps
    for told in (r"time: \S+ s for 39 steps", "queue: on average .* waiting", "accuracy after: 0"):
        assert re.search("^" + told, text, re.M)
    assert text.endswith("steps of the cluster: 40 of 40; of this worker: 40")


def test_where_it_cannot_hide(launch, copy):
    executable(copy.elsewhere / "unshare", "exit 1\n")
    status, lines = launch(env={"PATH": f"{copy.elsewhere}:{os.environ['PATH']}"}).finish()
    assert status == 1
    assert "add --exposed" in lines[-1]
    assert not any("TensorFlow" in line for line in lines)


# In place of the tasks, without TensorFlow: each does as told.
STAND_IN = """
import os, signal, sys, time
print("runs", flush=True)
for name, signal_number in DIE.items():
    if "--job_name={} --task_index={}".format(*name.split()) in " ".join(sys.argv):
        time.sleep(1)
        os.kill(os.getpid(), signal_number)
time.sleep(100 if "--job_name=ps" in sys.argv else WAIT)
"""


@pytest.fixture
def stand_ins(copy):
    """Replaces the tasks by processes that wait for some seconds; `die` gives {task: signal}."""

    def replace(wait, die):
        path = copy.folder / "going_further" / "cluster" / "distributed_training.py"
        path.write_text(f"DIE, WAIT = {die}, {wait}\n" + STAND_IN)

    return replace


def test_a_worker_dies(launch, stand_ins):
    stand_ins(2, {"worker 1": 9})
    status, lines = launch("--exposed").finish()
    assert status == 1
    assert "worker 1 was ended by SIGKILL" in lines
    assert lines[-1] == "Not all workers got to their end: worker 1 failed."


def test_the_ps_dies(launch, stand_ins):
    stand_ins(100, {"ps 0": 9})
    launcher = launch("--exposed")
    status, lines = launcher.finish(20)
    assert status == 1
    assert lines[-1] == "ps 0 was ended by SIGKILL, and with it the cluster."
    assert nothing_left_of(launcher)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_launcher_that_is_stopped(launch, stand_ins, number):
    stand_ins(100, {})
    launcher = launch("--exposed")
    for _ in range(3):
        launcher.wait_for(r"^(ps|worker) \d: runs")
    launcher.process.send_signal(number)
    assert launcher.finish(10)[0] == -number
    assert nothing_left_of(launcher)


# ------------------------------------------------------------------ what its chapter shows


def test_flags_of_the_chapter_exist(monkeypatch, capsys):
    from going_further.cluster.__main__ import parse

    readme = (ROOT / "docs" / "clusters.md").read_text()
    known = ""
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    for read in (parse, lambda: membership.parse("")):
        with pytest.raises(SystemExit):
            read()
        known += capsys.readouterr().out
    flags = set(re.findall(r"--[a-z_]+", readme)) - {"--help"}
    assert {"--ps_hosts", "--checkpoint_dir", "--exposed"} <= flags
    assert flags <= set(re.findall(r"--[a-z_]+", known))
    # weights and biases of both layers, float32
    assert "{:,} bytes".format(4 * (1024 * 1024 + 1024 + 1024 + 1)) in readme
