"""Clusters of one ps and two workers, in which a task ends, freezes, or comes late."""

import os
import re
import signal
import socket
import subprocess
import time

import psutil
import pytest

from conftest import LIMIT, group_exists

MODULE = "going_further.distributed_training"


@pytest.fixture
def hosts():
    """Returns flags with three free ports."""
    sockets = [socket.socket() for _ in range(3)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ps, *workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return ["--ps_hosts", ps, "--worker_hosts", ",".join(workers)]


@pytest.fixture
def start(copy, hosts):
    """Returns a function that starts the script, until the test ends.

    That function returns the process, and a function that reads its output.
    """
    processes = []

    def start(*flags):
        path = copy.elsewhere / f"output_{len(processes)}"
        command = copy.module(MODULE, "--batch_size", 16, *hosts, *flags)
        with path.open("w") as file:
            options = {"stdout": file, "stderr": subprocess.STDOUT, "cwd": str(copy.folder)}
            processes.append(copy.start(command, **options))
        return processes[-1], path.read_text

    yield start
    for process in processes:
        if group_exists(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tasks_of(launcher):
    tasks = psutil.Process(launcher.pid).children()
    return [task for task in tasks if "--job_name" in task.cmdline()]


def wait_for(condition):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_workers_share_the_steps(copy, hosts):
    flags = ["--batch_size", 16, "--steps", 200, "--read_latency_ms", 30]
    env = {"http_proxy": "http://127.0.0.1:9"}  # Nothing listens there.
    status, stdout, stderr = copy.run_module(MODULE, *hosts, *flags, env=env)
    assert (status, stderr) == (0, ""), stdout
    assert stdout.startswith("Warning: TensorFlow's servers have no password.")
    assert len(re.findall(r"^worker \d: accuracy (?:before|after): \d", stdout, re.M)) == 4
    ends = re.findall(r"^worker (\d): time: .* s for (\d+) of the cluster's (\d+) ", stdout, re.M)
    assert sorted(worker for worker, _, _ in ends) == ["0", "1"]
    assert all(200 <= int(total) < 210 for _, _, total in ends)
    assert 200 <= sum(int(steps) for _, steps, _ in ends) < 210


def test_the_launcher_stops_all_tasks_if_the_ps_freezes(start):
    launcher, output = start("--steps", 10**6, "--step_timeout", 8, "--read_latency_ms", 30)
    wait_for(lambda: output().count("accuracy before") == 2)
    next(task for task in tasks_of(launcher) if "ps" in task.cmdline()).suspend()
    assert launcher.wait(LIMIT) == 1
    assert not group_exists(launcher.pid)
    assert re.search(r"^worker \d: Timeout \(0:00:08\)!$", output(), re.M)
    assert re.search(r"^worker \d:   File .* in train$", output(), re.M)
    assert re.search(r"^The cluster has stopped, because worker \d.* failed\.$", output(), re.M)


def test_a_worker_ends_if_it_is_late_or_the_ps_is_killed(start):
    def task(job, *flags):
        return start("--job_name", job, *flags)

    ps, _ = task("ps", "--task_index", 0)
    chief, chief_output = task("worker", "--task_index", 0, "--steps", 10**6, "--step_timeout", 8)
    wait_for(lambda: "loss" in chief_output())
    late, late_output = task("worker", "--task_index", 1, "--steps", 1)
    assert late.wait(LIMIT) == 1
    assert re.search(r"^The ps has already counted \d+ steps\. ", late_output(), re.M)
    steps = chief_output().count("loss")
    wait_for(lambda: chief_output().count("loss") > steps)  # The chief needs no other worker.
    ps.kill()
    assert chief.wait(LIMIT) == 1
    # TensorFlow 1.0.0 raises an error. Later releases wait for the ps to return.
    assert re.search(r"UnavailableError|^Timeout \(0:00:08\)!$", chief_output(), re.M)


def test_the_launcher_stops_all_tasks_if_a_port_is_in_use(copy, hosts):
    address = hosts[-1].split(",")[1]
    with socket.socket() as server:
        server.bind(("", int(address.split(":")[1])))
        server.listen(1)
        status, stdout, stderr = copy.run_module(MODULE, *hosts, "--steps", 10**6)
    assert (status, stderr) == (1, "The cluster has stopped, because worker 1 failed.\n")
    assert re.search(f"^worker 1: Can't serve on {address}: .* in use.$", stdout, re.M)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_task_is_left_if_the_launcher_is_stopped(start, number):
    launcher, _ = start("--steps", 10**6)
    wait_for(lambda: len(tasks_of(launcher)) == 3)
    for task in tasks_of(launcher):
        task.suspend()  # so that no task ends by itself
    launcher.send_signal(number)
    assert launcher.wait(LIMIT) == -number
    wait_for(lambda: not group_exists(launcher.pid))


@pytest.mark.parametrize(
    "flags",
    [
        ["--job_name", "chief", "--task_index", 0],
        ["--job_name", "ps"],
        ["--job_name", "ps", "--task_index", 1],
        ["--job_name", "worker", "--task_index", 2],
        ["--ps_hosts", "localhost"],
        ["--worker_hosts", "localhost:2223,"],
    ],
)
def test_a_wrong_flag_prints_one_line(copy, flags):
    status, stdout, stderr = copy.run_module(MODULE, *flags)
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert flags[0] in stderr or "--task_index" in stderr
