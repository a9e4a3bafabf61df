"""make cluster: its network, its processes, its table, and what the README shows of it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cluster_tools import (
    Task,
    network_fixture,  # noqa: F401
    until,
)
from conftest import ROOT, group_exists
from going_further.cluster import cost, tables
from going_further.cluster.__main__ import parse
from going_further.processes import die_with_parent

pytestmark = pytest.mark.xdist_group("launcher")

BYTES = 4 * (1024 * 1024 + 1024 + 1024 + 1)  # weights and biases of both layers, float32

# ------------------------------------------------------------------ a launcher to test


@pytest.fixture
def launch(copy):
    """Starts going_further.cluster, whose processes are all of its process group."""
    started = []

    def start(*flags, prefix=(), **options):
        command = copy.module("cluster", "--batch_size", 16, *flags)
        options.update(cwd=str(copy.folder), stderr=subprocess.STDOUT)
        options.update(preexec_fn=die_with_parent)
        started.append(Task(copy.start([*prefix, *command], **options)))
        return started[-1]

    yield start
    for task in started:
        if task.process.poll() is None:
            os.killpg(task.process.pid, signal.SIGKILL)


@pytest.fixture
def fake_unshare(copy):
    """An environment in which no network of one's own is granted."""
    fake = copy.elsewhere / "unshare"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    return {"PATH": "{}:{}".format(copy.elsewhere, os.environ["PATH"])}


def nothing_left_of(task):
    until(lambda: not group_exists(task.process.pid), 10)
    return True


def pid_of(task, job, index):
    """The process of a task of a launched cluster."""
    wanted = {"--job_name={}".format(job), "--task_index={}".format(index)}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (folder / "cmdline").read_text().split("\0")
            if wanted <= set(arguments) and os.getpgid(int(folder.name)) == task.process.pid:
                return int(folder.name)
    return pytest.fail("there is no {} {}".format(job, index))


def cells(lines, name):
    """A row of the table, its numbers as floats."""
    (row,) = [line for line in lines if re.match(name + " {2,}", line)]
    return [float(cell.replace(",", "")) for cell in re.split(" {2,}", row)[1:]]


# ------------------------------------------------------------------ it runs


def test_where_it_cannot_hide(launch, fake_unshare):
    status, lines = launch(env=fake_unshare).finish()
    assert status == 1
    assert "add --exposed" in lines[-1]
    assert not any("TensorFlow" in line for line in lines)


def test_table_is_what_the_tasks_report_and_nothing_can_reach_them(launch, copy, network):
    # What a process prints need not be text.
    copy.append("common.py", "import os\nos.write(1, b'caf\\xe9 \\xff\\n')\n")
    with closing(socket.socket()) as probe:  # somebody else's server may be there
        taken = probe.connect_ex(("127.0.0.1", 2222)) == 0
    exposed = () if network else ("--exposed",)
    flags = ("--steps", 150, "--read_latency_ms", 30, "--json", "cluster.json")
    task = launch(*flags, *exposed, env={"LC_ALL": "C"})
    if network:
        task.wait_for("^The cluster has a network of its own, which nothing else can reach.$")
        port = int(task.wait_for(r"^ps 0: serving on port (\d+) ").group(1))
        pid = pid_of(task, "ps", 0)
        assert os.readlink("/proc/{}/ns/net".format(pid)) != os.readlink("/proc/self/ns/net")
        with open("/proc/{}/net/route".format(pid)) as file:
            assert len(file.readlines()) == 1  # the heading: there is no way out, nor in
        with closing(socket.socket()) as stranger:
            assert taken or stranger.connect_ex(("127.0.0.1", port)) != 0
    status, lines = task.finish()
    assert status == 0
    assert nothing_left_of(task)
    assert not copy.timings.exists()
    assert sum(line.endswith("caf\\xe9 \\xff") for line in lines) == 4

    data = json.loads((copy.folder / "cluster.json").read_text())
    assert data["settings"]["steps"] == 150
    (rows,) = data["rounds"]
    assert set(tables.table([rows])) <= set(lines)
    for name in ("one process", "worker 0", "worker 1"):
        text = "\n".join(line for line in lines if line.startswith(name + ": "))
        seconds, timed = map(float, re.search(r": time: (\S+) s for (\d+) steps", text).groups())
        row = rows[name]
        assert row["ms"] == pytest.approx(1000 * seconds / timed, abs=1)
        assert row["examples_per_s"] == pytest.approx(16 * 1000 / row["ms"])
        waiting = float(re.search(r"queue: on average (\S+) of 5 ", text).group(1))
        assert row["waiting"] == pytest.approx(waiting, abs=0.06)
        if name == "one process":
            assert row["steps"] == timed == 150
            assert row["accuracy"] is None
        else:
            assert row["steps"] == timed + 1  # the first isn't timed
            accuracy = float(re.search(r"accuracy after: (\S+)", text).group(1))
            assert row["accuracy"] == pytest.approx(accuracy, abs=0.001)
            assert re.search(r"step +\d+  loss", text)  # its progress
    workers, together = [rows["worker 0"], rows["worker 1"]], rows["together"]
    assert together["steps"] == sum(row["steps"] for row in workers)
    assert 150 <= together["steps"] <= 151
    rate = sum(row["examples_per_s"] for row in workers)
    assert 0.3 * rate < together["examples_per_s"] < 1.05 * rate  # one may have begun later


INTRUDER = """
import sys
from support import tf
config = tf.ConfigProto(device_filters=["/job:ps"])  # it needs no worker
with tf.Session(sys.argv[1], config=config) as sess:
    print(sess.run(tf.read_file(sys.argv[2])))
"""


def test_exposed_it_can_be_reached_and_it_outlives_a_worker(launch, copy, network, fake_unshare):
    # With one worker left the cluster lasts for 15 s; a stranger takes some of them to start.
    flags = ("--steps", 300, "--read_latency_ms", 100, "--threads", 2, "--exposed")
    task = launch(*flags, env=fake_unshare, prefix=network)
    task.wait_for("^Warning: whoever can reach this machine can reach the cluster while it runs.$")
    port = int(task.wait_for(r"^ps 0: serving on port (\d+) of every network interface").group(1))
    with open("/proc/{}/net/tcp6".format(pid_of(task, "ps", 0))) as file:  # and of IPv4, too
        assert re.search(r" 0{{32}}:{:04X} 0{{32}}:0000 0A ".format(port), file.read())

    task.wait_for("^worker 1: step ")
    os.kill(pid_of(task, "worker", 1), signal.SIGKILL)
    task.wait_for("^worker 1 was ended by SIGKILL$")
    # Whoever reaches it reads what its user may read, and is asked for no name.
    secret = copy.elsewhere / "secret"
    secret.write_text("not for you")
    intruder = [sys.executable, "-c", INTRUDER, "grpc://127.0.0.1:{}".format(port), str(secret)]
    process = copy.start([*network, *intruder], cwd=str(copy.folder))
    assert "not for you" in copy.finish(process)[1]

    status, lines = task.finish()
    assert status == 1
    assert cells(lines, "worker 0")
    assert not any(line.startswith("worker 1   ") for line in lines)
    assert lines[-1].startswith("worker 1 was ended by SIGKILL")
    assert nothing_left_of(task)


def test_its_ps_dies_and_the_work_is_kept(launch, copy):
    folder = copy.elsewhere / "checkpoints"
    flags = ("--workers", 1, "--steps", 30, "--read_latency_ms", 100, "--exposed")
    task = launch(*flags, "--checkpoint_dir", folder)
    task.wait_for("^worker 0: step ")
    until(lambda: list(folder.glob("*.index")))
    os.kill(pid_of(task, "ps", 0), signal.SIGKILL)
    status, lines = task.finish(30)
    assert status == 1
    assert any(line.startswith("ps 0 was ended by SIGKILL") for line in lines)
    assert nothing_left_of(task)


def ctrl_c(task):
    os.killpg(task.process.pid, signal.SIGINT)  # the terminal sends it to all of a group
    return signal.SIGINT


def killed(task):
    os.kill(task.process.pid, signal.SIGKILL)
    return signal.SIGKILL


@pytest.mark.parametrize("stop", [ctrl_c, killed])
def test_launcher_is_stopped_while_the_tasks_run(launch, stop):
    task = launch("--exposed", "--steps", 100, "--read_latency_ms", 50)
    for _ in range(2):  # in either order
        task.wait_for(r"^worker \d: accuracy before")
    number = stop(task)
    assert task.finish(10)[0] == -number
    assert nothing_left_of(task)


def test_one_round_with_checkpoints(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--checkpoint_dir", "x", "--rounds", "2"])
    with pytest.raises(SystemExit) as caught:
        parse()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--checkpoint_dir" in line


# ------------------------------------------------------------------ what it costs


def test_bytes_moved(launch, network):
    status, lines = launch("--workers", 1, "--steps", 150, "--exposed").finish()
    assert status == 0
    each_way = "{:.2f} MB".format(BYTES / 1e6)
    assert "A step moves {0} of variables, and {0} of gradients.".format(each_way) in lines
    counted = re.findall(r"^Counted, .*: (\S+) MB a step", "\n".join(lines), re.M)
    assert len(counted) == bool(network)
    for megabytes in counted:  # by the kernel
        assert 2 * BYTES < float(megabytes) * 1e6 < 2 * BYTES * 1.1
    alone, worker = cells(lines, "one process")[1], cells(lines, "worker 0")[1]
    (share,) = re.findall(r"^Share of .*: (-?\d+)%", "\n".join(lines), re.M)
    assert int(share) == pytest.approx(100 * (1 - alone / worker), abs=1)
    full = dict(re.findall(r"^ *(\d+) Gbit/s +(\S+)$", "\n".join(lines), re.M))
    for gbit_s in (1, 10, 100):
        # The bits that the network carries during a step, over those that a worker has for it.
        workers = gbit_s * 1e9 * (worker / 1000) / (8 * BYTES)
        assert float(full[str(gbit_s)]) == pytest.approx(workers, abs=0.1, rel=0.01)


def figures(steps, seconds, end, accuracy=0.5):
    names = ("steps", "timed_steps", "seconds", "end", "accuracy", "waiting")
    return dict(zip(names, (steps, steps - 1, seconds, end, accuracy, 5.0)))


def test_rows():
    workers = {"worker 0": figures(11, 1.0, 102.0, 0.6), "worker 1": figures(21, 2.0, 102.5, 0.8)}
    rows = tables.rows(workers, 100)
    assert rows["worker 0"]["ms"] == 100
    assert rows["worker 0"]["examples_per_s"] == 1000
    assert rows["together"]["steps"] == 32
    assert rows["together"]["accuracy"] == pytest.approx(0.7)
    assert rows["together"]["examples_per_s"] == pytest.approx(30 * 100 / 2.0)  # 100.5 to 102.5


def test_rows_of_a_worker_that_found_nothing_to_do():
    rows = tables.rows({"worker 0": dict(figures(0, 0.0, 1.0), timed_steps=0)}, 100)
    assert rows["worker 0"]["ms"] is None
    assert rows["together"]["examples_per_s"] is None


def test_order_of_the_rows():
    names = ["worker {}".format(index) for index in range(12)]
    found = {name: figures(11, 1.0, 102.0) for name in reversed(names + ["one process"])}
    lines = tables.table([tables.rows(found, 100)])
    shown = [" ".join(line.split()[:2]) for line in lines[1:15]]
    assert shown[:13] == ["one process"] + names
    assert shown[13].startswith("together")


def test_cost():
    rounds = [
        {"one process": {"ms": alone}, "worker 0": {"ms": worker}}
        for alone, worker in ((3, 10), (4, 10), (5, 10))
    ]
    found = cost.cost(rounds, 10**6)
    assert found["share"] == pytest.approx([0.55, 0.6, 0.65])
    # 10^6 bytes in 10 ms are 0.8 Gbit/s.
    expected = {"1": 1.25, "10": 12.5, "100": 125}
    assert found["workers_that_fill"] == pytest.approx(expected)


# ------------------------------------------------------------------ what the README shows

FOLDER = ROOT / "going_further" / "cluster"
README = (FOLDER / "README.md").read_text()


def test_readme_shows_what_was_measured():
    data = json.loads((FOLDER / "measured" / "cluster.json").read_text())
    assert "\n".join(tables.table(data["rounds"])) in README
    data = json.loads((FOLDER / "measured" / "cluster_cost.json").read_text())
    assert data["settings"]["workers"] == 1
    found = cost.cost(data["rounds"], BYTES)
    lines = tables.table(data["rounds"]) + cost.in_lines(found, data["moved_per_step"])
    assert "\n".join(lines) in README
    assert "{:,} bytes".format(BYTES) in README
    assert data["moved_per_step"] == pytest.approx(2 * BYTES, rel=0.01)
    assert "{:.1%}".format(4 * 1024 * 1024 / BYTES).replace("%", " %") in README


def test_flags_of_the_readme_exist(copy):
    flags = set(re.findall(r"--[a-z_]+", README)) - {"--help"}
    assert {"--ps_hosts", "--checkpoint_dir", "--wait_secs", "--exposed"} <= flags
    known = ""
    for module in ("cluster", "cluster.distributed_training"):
        process = copy.start(copy.module(module, "--help"), cwd=str(copy.folder))
        status, stdout, stderr = copy.finish(process)
        assert (status, stderr) == (0, "")
        known += stdout
    assert flags <= set(re.findall(r"--[a-z_]+", known))
