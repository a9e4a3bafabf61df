"""Clusters of real processes: how they train, what they survive, who can reach them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from common import tf
from conftest import LIMIT, ROOT, group_exists
from going_further import cluster as launcher
from going_further import results

# ------------------------------------------------------------------ a cluster to test


@pytest.fixture(scope="module")
def network():
    """What to put before a command, so that it runs in a network that nothing else can reach.

    Nothing, where the system grants none: then the tests' clusters can be reached.
    """
    lasts = (
        "from going_further import cluster; cluster.loopback_up(); print('up', flush=True); input()"
    )
    for unshare in (["--net"], ["--user", "--map-root-user", "--net"]):
        try:
            holder = subprocess.Popen(
                ["unshare"] + unshare + [sys.executable, "-c", lasts],
                cwd=str(ROOT),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            break
        if holder.stdout.readline():
            enter = ["nsenter", "--target", str(holder.pid)]
            if "--user" in unshare:
                enter += ["--user", "--preserve-credentials"]
            yield enter + ["--net"]
            holder.communicate(b"\n")
            return
        holder.communicate()
    yield []


class Task:
    """A process, and the lines that it has printed so far."""

    def __init__(self, process):
        self.process, self.lines = process, []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def wait_for(self, pattern, limit=LIMIT):
        """Wait for a line that matches. Returns: the match, of the first such line."""
        deadline = time.monotonic() + limit
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    match = re.search(pattern, line)
                    if match:
                        return match
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0:
                    pytest.fail("no line with {!r}: {}".format(pattern, self.lines))
                self._news.wait(left)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def finish(self, limit=LIMIT):
        """Wait for the end. Returns: (exit status, the lines)."""
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            pytest.fail("hangs: {}".format(self.lines))
        self._reader.join()
        return status, self.lines


class Cluster:
    """1 ps and some workers on this machine, none of which outlives the test."""

    def __init__(self, copy, network, workers):
        self.copy, self._network, self._started = copy, network, []
        self.hosts = ["127.0.0.1:{}".format(port) for port in free_ports(1 + workers)]
        self.checkpoint_dir = copy.elsewhere / "checkpoints"

    def start(self, job, index, *flags, **options):
        command = self.copy.module("distributed_training", "--batch_size", 16, *flags)
        if "env" not in options:
            command += ["--job_name", job, "--task_index", str(index)]
            command += ["--ps_hosts", self.hosts[0], "--worker_hosts", ",".join(self.hosts[1:])]
        if (job, index) == ("worker", 0):
            command += ["--checkpoint_dir", str(self.checkpoint_dir)]
        return self._start(command, **options)

    def _start(self, command, **options):
        task = Task(
            self.copy.start(
                self._network + command,
                cwd=str(self.copy.folder),
                stderr=subprocess.STDOUT,
                preexec_fn=launcher.die_with_parent,
                **options,
            )
        )
        self._started.append(task)
        return task

    def stop(self):
        for task in self._started:
            if task.process.poll() is None:
                task.kill()

    def checkpoint(self):
        """The step of the latest checkpoint."""
        path = tf.train.latest_checkpoint(str(self.checkpoint_dir))
        return path and int(tf.train.NewCheckpointReader(path).get_tensor("global_step"))


def free_ports(n):
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(n)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
def cluster(copy, network):
    made = []

    def make(workers):
        made.append(Cluster(copy, network, workers))
        return made[0]

    yield make
    for one in made:
        one.stop()


def steps_of(lines):
    """(steps of the cluster, steps of this worker), as a worker's last lines tell."""
    (found,) = re.findall(
        r"^steps of the cluster: (\d+) of \d+; of this worker: (\d+)$", "\n".join(lines), re.M
    )
    return int(found[0]), int(found[1])


STARTS = r"^steps of the cluster: (\d+) of \d+$"
STEP = r"^step +(\d+)  loss "

# ------------------------------------------------------------------ training


def test_one_worker_trains_as_04_does(cluster):
    one = cluster(1)
    config = {"cluster": {"ps": one.hosts[:1], "worker": one.hosts[1:]}}
    tasks = []
    for job in ("ps", "worker"):
        config["task"] = {"type": job, "index": 0}
        env = {"TF_CONFIG": json.dumps(config), "http_proxy": "http://127.0.0.1:9"}
        tasks.append(one.start(job, 0, "--steps", 40, "--seed", 7, env=env))
    status, lines = tasks[1].finish()
    assert status == 0

    flags = ("--steps", 40, "--seed", 7, "--batch_size", 16)
    _, stdout, _ = one.copy.run("04", *flags)
    expected = re.findall(r"^(?:accuracy before|step .*)$", stdout, re.M)[:-1]  # 04 does 41 steps
    assert len(expected) == 10
    assert [line for line in lines if line.startswith("step  ")] == expected
    # weights and biases of both layers, in float32
    size = 4 * (1024 * 1024 + 1024 + 1024 + 1)
    assert any("gets {} bytes of variables".format(size) in line for line in lines)


def test_steps_are_the_clusters_and_are_kept(cluster):
    two = cluster(2)
    flags = ("--steps", 60)
    second = two.start("worker", 1, *flags)
    second.wait_for(r"^waiting for ps 0 \({}\)$".format(two.hosts[0]))
    ps = two.start("ps", 0, *flags)
    second.wait_for(r"^waiting for worker 0 \({}\) to start$".format(two.hosts[1]))
    workers = [two.start("worker", 0, *flags), second]
    ends = [worker.finish() for worker in workers]
    assert [status for status, _ in ends] == [0, 0]
    done = sum(steps_of(lines)[1] for _, lines in ends)
    assert 60 <= done <= 61  # the second may have begun its last step when the other did its own
    assert two.checkpoint() in (60, 61)
    kept = two.checkpoint()
    ps.kill()

    flags = ("--steps", 100)
    two.start("ps", 0, *flags)
    workers = [two.start("worker", index, *flags) for index in (0, 1)]
    assert int(workers[0].wait_for(STARTS).group(1)) == kept
    ends = [worker.finish() for worker in workers]
    assert [status for status, _ in ends] == [0, 0]
    assert 100 <= kept + sum(steps_of(lines)[1] for _, lines in ends) <= 101
    assert two.checkpoint() in (100, 101)

    # Nothing is left to do.
    status, lines = two.start("worker", 0, *flags).finish()
    assert status == 0
    assert steps_of(lines)[1] == 0


# ------------------------------------------------------------------ what it survives


def until(condition, limit=LIMIT):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_worker_killed_and_started_again(cluster):
    two = cluster(2)
    flags = ("--steps", 600, "--read_latency_ms", 50)
    two.start("ps", 0, *flags)
    first, second = (two.start("worker", index, *flags) for index in (0, 1))
    second.wait_for(STEP)
    second.kill()
    at = len(first.lines)
    until(lambda: len(first.lines) > at)  # it goes on
    again = two.start("worker", 1, *flags)
    assert int(again.wait_for(STARTS).group(1)) > 0
    again.wait_for(STEP)
    again.kill()
    status, lines = first.finish()
    assert status == 0
    assert 600 <= steps_of(lines)[0] <= 601
    assert not any("lost" in line for line in lines)


def test_chief_killed_and_started_again(cluster):
    two = cluster(2)
    flags = ("--steps", 500, "--save_secs", 1, "--read_latency_ms", 50)
    two.start("ps", 0, *flags)
    chief, other = (two.start("worker", index, *flags) for index in (0, 1))
    until(lambda: (two.checkpoint() or 0) > 1)
    other.wait_for(STEP)
    chief.kill()
    kept = two.checkpoint()

    def last_step():
        return max(int(step) for step in re.findall(STEP, "\n".join(other.lines), re.M))

    until(lambda: last_step() > kept + 60)
    lead = last_step()
    chief = two.start("worker", 0, *flags)
    start = int(chief.wait_for(STARTS).group(1))
    assert kept <= start < lead  # back at the checkpoint, from where the other goes on as well
    for worker in (chief, other):
        status, lines = worker.finish()
        assert status == 0
        assert 500 <= steps_of(lines)[0] <= 501


def without_ps(two, flags):
    """Start a cluster, and kill its ps once there is a checkpoint. Returns: the workers."""
    ps = two.start("ps", 0, *flags)
    workers = [two.start("worker", index, *flags) for index in (0, 1)]
    for worker in workers:
        worker.wait_for(STEP)
    until(lambda: (two.checkpoint() or 0) > 1)
    ps.kill()
    return workers


def test_ps_killed_and_back(cluster):
    two = cluster(2)
    flags = ("--steps", 500, "--save_secs", 1, "--read_latency_ms", 50)
    workers = without_ps(two, flags)
    for worker in workers:
        worker.wait_for(r"^lost ps 0 \({}\): waiting up to 60 s".format(two.hosts[0]), 30)
    kept = two.checkpoint()
    two.start("ps", 0, *flags)
    for worker in workers:
        worker.wait_for("^starting again$")
    for worker in workers:
        status, lines = worker.finish()
        assert status == 0
        assert 500 <= steps_of(lines)[0] <= 501
        assert not any("Traceback" in line for line in lines)
    starts = [int(x.group(1)) for x in map(re.compile(STARTS).match, workers[0].lines) if x]
    assert starts[0] == 0
    assert kept <= starts[1] <= kept + 20  # the other may have gone on before


def test_ps_killed_for_good(cluster):
    two = cluster(2)
    flags = ("--steps", 300, "--save_secs", 1, "--read_latency_ms", 50, "--wait_secs", 2)
    workers = without_ps(two, flags)
    for worker in workers:
        status, lines = worker.finish(30)
        assert status == 1
        assert any(line.startswith("lost ps 0 (") for line in lines)
        assert any("did not come back within 2 s." in line for line in lines)
        assert not any("Traceback" in line for line in lines)

    kept = two.checkpoint()
    assert kept > 1
    two.start("ps", 0, *flags)
    chief = two.start("worker", 0, *flags)
    assert int(chief.wait_for(STARTS).group(1)) == kept
    status, lines = chief.finish()
    assert (status, steps_of(lines)) == (0, (300, 300 - kept))


def test_ps_hangs(cluster):
    one = cluster(1)
    flags = ("--steps", 200, "--read_latency_ms", 20)
    ps = one.start("ps", 0, *flags)
    worker = one.start("worker", 0, *flags)
    worker.wait_for(STEP)
    ps.process.send_signal(signal.SIGSTOP)
    worker.wait_for("^no step for 20 s, though every ps can be reached$", 30)
    ps.process.send_signal(signal.SIGCONT)
    status, lines = worker.finish()
    assert (status, steps_of(lines)) == (0, (200, 200))


# A read that fails, at the end of common.py: on the n-th call. What it counts with is on worker 1.
COUNTS = """
_read_batch = read_batch

def read_batch(batch_size, read_latency_ms=0):
    with tf.device("/job:worker/task:1/cpu:0"):
        reads = tf.Variable(0, trainable=False, collections=[tf.GraphKeys.LOCAL_VARIABLES])
"""
FAILS = """
        working = tf.Assert(tf.less(tf.assign_add(reads, 1), {}), ["the disk is on fire"])
    with tf.control_dependencies([working]):
        return tf.identity(_read_batch(batch_size, read_latency_ms))
"""
ENDS = """
        left = reads.count_up_to({})
    with tf.control_dependencies([left]):
        return tf.identity(_read_batch(batch_size, read_latency_ms))
"""


@pytest.mark.parametrize(
    "reader, n, message",
    [
        pytest.param(FAILS, 1, "the disk is on fire", id="fails at once"),
        pytest.param(FAILS, 20, "the disk is on fire", id="fails"),
        pytest.param(ENDS, 20, "This worker's reader has no data left.", id="ends"),
    ],
)
def test_error_of_a_reader(cluster, reader, n, message):
    two = cluster(2)
    flags = ("--steps", 700, "--read_latency_ms", 20)
    two.start("ps", 0, *flags)
    whole = two.start("worker", 0, *flags)
    whole.wait_for(STEP)
    two.copy.append("common.py", COUNTS + reader.format(n))
    status, lines = two.start("worker", 1, *flags).finish()
    assert status == 1
    assert any(message in line for line in lines)
    assert not any("accuracy after" in line or "of this worker" in line for line in lines)
    status, lines = whole.finish()
    assert status == 0
    assert steps_of(lines)[0] >= 700


def test_damaged_checkpoint(cluster):
    one = cluster(1)
    flags = ("--steps", 3)
    one.start("ps", 0, *flags)
    assert one.start("worker", 0, *flags).finish()[0] == 0
    (data,) = one.checkpoint_dir.glob("model.ckpt-3.data*")
    for damaged in (
        data,
        one.checkpoint_dir / "model.ckpt-3.index",
        one.checkpoint_dir / "checkpoint",
    ):
        damaged.write_bytes(b"damaged")
        before = set(one.checkpoint_dir.glob("model*"))
        status, lines = one.start("worker", 0, "--steps", 6).finish()
        assert status == 1
        assert str(one.checkpoint_dir) in lines[-1]
        assert "name another --checkpoint_dir" in lines[-1]
        assert not any("Traceback" in line for line in lines)
        assert set(one.checkpoint_dir.glob("model*")) == before


# ------------------------------------------------------------------ what is refused

LOCAL = ["--ps_hosts", "127.0.0.1:2222", "--worker_hosts", "127.0.0.1:2223,127.0.0.1:2224"]


def tf_config(**changes):
    config = {
        "cluster": {"ps": ["127.0.0.1:2222"], "worker": ["127.0.0.1:2223"]},
        "task": {"type": "worker", "index": 0},
    }
    return json.dumps(dict(config, **changes))


REFUSED = {  # flags, TF_CONFIG, exit status, what the line names
    "nothing said": ([], None, 2, "TF_CONFIG"),
    "job missing": (["--task_index", 0] + LOCAL, None, 2, "--job_name"),
    "index missing": (["--job_name", "ps"] + LOCAL, None, 2, "--task_index"),
    "no such job": (["--job_name", "chief", "--task_index", 0] + LOCAL, None, 2, "--job_name"),
    "no such worker": (["--job_name", "worker", "--task_index", 2] + LOCAL, None, 2, "worker 2"),
    "no such ps": (["--job_name", "ps", "--task_index", 1] + LOCAL, None, 2, "ps 1"),
    "negative": (["--job_name", "ps", "--task_index", -1] + LOCAL, None, 2, "--task_index"),
    "no port": (["--ps_hosts", "localhost"], None, 2, "--ps_hosts"),
    "port 0": (["--ps_hosts", "localhost:0"], None, 2, "--ps_hosts"),
    "port 65536": (["--ps_hosts", "localhost:65536"], None, 2, "--ps_hosts"),
    "a URL": (["--ps_hosts", "grpc://localhost:2222"], None, 2, "--ps_hosts"),
    "empty": (["--worker_hosts", ""], None, 2, "--worker_hosts"),
    "twice": (["--worker_hosts", "a:1,a:1"], None, 2, "--worker_hosts"),
    "both": (
        ["--job_name", "ps", "--task_index", 0, "--ps_hosts", "a:1", "--worker_hosts", "a:1"],
        None,
        2,
        "A ps and a worker have the same HOST:PORT",
    ),
    "does not resolve": (
        ["--job_name", "ps", "--task_index", 0, "--ps_hosts", "127.0.0.1:2222"]
        + ["--worker_hosts", "nowhere.invalid:2222"],
        None,
        1,
        "worker 0 (nowhere.invalid:2222)",
    ),
    "no JSON": ([], "{'cluster': 1}", 2, "TF_CONFIG"),
    "deep": ([], "[" * 100000, 2, "TF_CONFIG"),
    "a list": ([], "[1]", 2, "TF_CONFIG"),
    "no cluster": ([], "{}", 2, "TF_CONFIG: 'cluster' is missing"),
    "no task": ([], json.dumps({"cluster": {"ps": [], "worker": []}}), 2, "'task'"),
    "no ps": ([], tf_config(cluster={"worker": ["a:1"]}), 2, "['worker']"),
    "a chief": ([], tf_config(cluster={"chief": [], "ps": [], "worker": []}), 2, "chief"),
    "no list": ([], tf_config(cluster={"ps": "a:1", "worker": ["a:2"]}), 2, "ps"),
    "no host": ([], tf_config(cluster={"ps": [1], "worker": ["a:2"]}), 2, "HOST:PORT"),
    "no type": ([], tf_config(task={"index": 0}), 2, "'type'"),
    "other type": ([], tf_config(task={"type": "evaluator", "index": 0}), 2, "evaluator"),
    "index as text": ([], tf_config(task={"type": "ps", "index": "0"}), 2, "index"),
    "index too high": ([], tf_config(task={"type": "ps", "index": 1}), 2, "ps 1"),
    "index negative": ([], tf_config(task={"type": "ps", "index": -1}), 2, "ps -1"),
    "folder": (
        ["--job_name", "worker", "--task_index", 0, "--checkpoint_dir", "/dev/null/x"] + LOCAL,
        None,
        2,
        "--checkpoint_dir",
    ),
}


def refused(copy, flags, env=None):
    """The status and stderr of distributed_training, which must end before TensorFlow loads."""
    (copy.folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    command = copy.module("distributed_training", *flags)
    status, stdout, stderr = copy.finish(copy.start(command, cwd=str(copy.folder), env=env))
    assert stdout == ""
    assert stderr.count("\n") == (2 if stderr.startswith("Which task") else 1)
    return status, stderr


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused_at_once(copy, case):
    flags, config, status, named = REFUSED[case]
    found, stderr = refused(copy, flags, {"TF_CONFIG": config} if config else None)
    assert found == status
    assert named in stderr


@pytest.mark.parametrize("job", ["ps", "worker"])
def test_port_in_use(copy, job):
    with closing(socket.socket()) as taken:
        taken.bind(("", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        hosts = [
            "--ps_hosts",
            "127.0.0.1:{}".format(port),
            "--worker_hosts",
            "127.0.0.1:{}".format(port + 1),
        ]
        if job == "worker":
            hosts[1], hosts[3] = hosts[3], hosts[1]
        status, stderr = refused(copy, ["--job_name", job, "--task_index", 0] + hosts)
    assert status == 1
    assert "{} 0 can't serve on port {}".format(job, port) in stderr


def test_port_of_a_running_task(cluster):
    one = cluster(1)
    one.start("ps", 0).wait_for("^serving on port")
    status, lines = one.start("ps", 0).finish()
    assert status == 1
    assert len(lines) == 1
    assert "can't serve on port" in lines[0]


# ------------------------------------------------------------------ make cluster


@pytest.fixture
def launch(copy):
    """Starts going_further.cluster, whose processes are all of its process group."""
    started = []

    def start(*flags, prefix=(), **options):
        command = copy.module("cluster", "--batch_size", 16, *flags)
        options.update(cwd=str(copy.folder), stderr=subprocess.STDOUT)
        options.update(preexec_fn=launcher.die_with_parent)
        started.append(Task(copy.start([*prefix, *command], **options)))
        return started[-1]

    yield start
    for task in started:
        if task.process.poll() is None:
            os.killpg(task.process.pid, signal.SIGKILL)


# In one process it takes 6 s, and the cluster lasts long enough to be disturbed.
SLOWLY = ("--steps", 300, "--read_latency_ms", 20)


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


def test_table_is_what_the_tasks_printed(launch):
    task = launch(*SLOWLY, "--exposed", "--json", "cluster.json")
    status, lines = task.finish()
    assert status == 0
    assert nothing_left_of(task)
    total_steps, accuracies, rates = 0, [], []
    for name in ("one process", "worker 0", "worker 1"):
        text = "\n".join(line for line in lines if line.startswith(name + ": "))
        seconds, timed = map(float, re.search(r": time: (\S+) s for (\d+) steps", text).groups())
        accuracy = float(re.search(r"accuracy after: (\S+)", text).group(1))
        waiting = float(re.search(r"queue: on average (\S+) of 5 ", text).group(1))
        steps, ms, rate, *others = cells(lines, name)
        assert others == [accuracy, waiting]
        assert ms == pytest.approx(1000 * seconds / timed, abs=0.01)
        assert rate == pytest.approx(16 * timed / seconds, abs=1)
        if name == "one process":
            assert steps == timed == 300
        else:
            assert steps == timed + 1  # the first isn't timed
            assert re.search(r"step +\d+  loss", text)  # its progress
            total_steps += steps
            accuracies.append(accuracy)
            rates.append(rate)
    steps, ms, rate, accuracy = cells(lines, "together")
    assert steps == total_steps
    assert 300 <= steps <= 301
    assert rate == pytest.approx(1000 * 16 / ms, rel=0.01)
    assert 0.3 * sum(rates) < rate < 1.05 * sum(rates)  # one may have begun before the other
    assert accuracy == pytest.approx(sum(accuracies) / 2, abs=0.001)


def test_nothing_can_reach_the_cluster(launch, network):
    with closing(socket.socket()) as probe:  # somebody else's server may be there
        taken = probe.connect_ex(("127.0.0.1", 2222)) == 0
    task = launch(*SLOWLY)
    if not network:
        status, lines = task.finish()
        assert status == 1
        assert "add --exposed" in lines[-1]
        return
    task.wait_for("^The cluster has a network of its own, which nothing else can reach.$")
    port = int(task.wait_for(r"^ps 0: serving on port (\d+) ").group(1))
    pid = pid_of(task, "ps", 0)
    assert os.readlink("/proc/{}/ns/net".format(pid)) != os.readlink("/proc/self/ns/net")
    with open("/proc/{}/net/route".format(pid)) as file:
        assert len(file.readlines()) == 1  # the heading: there is no way out, nor in
    with closing(socket.socket()) as stranger:
        assert taken or stranger.connect_ex(("127.0.0.1", port)) != 0
    os.kill(task.process.pid, signal.SIGINT)
    assert task.finish()[0] == 130
    assert nothing_left_of(task)


INTRUDER = """
import sys
from common import tf
with tf.Session(sys.argv[1]) as sess:
    print(sess.run(tf.read_file(sys.argv[2])))
"""


def test_where_it_cannot_hide(launch, copy, network):
    fake = copy.elsewhere / "unshare"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    env = {"PATH": "{}:{}".format(copy.elsewhere, os.environ["PATH"])}
    status, lines = launch(env=env).finish()
    assert status == 1
    assert "add --exposed" in lines[-1]
    assert not any("TensorFlow" in line for line in lines)

    slowly = ("--workers", 1, "--steps", 80, "--read_latency_ms", 100)
    task = launch(*slowly, "--exposed", env=env, prefix=network)
    task.wait_for("^Warning: whoever can reach this machine can reach the cluster while it runs.$")
    port = int(task.wait_for(r"^ps 0: serving on port (\d+) of every network interface").group(1))
    # Whoever reaches it reads what its user may read, and is asked for no name.
    secret = copy.elsewhere / "secret"
    secret.write_text("not for you")
    intruder = [sys.executable, "-c", INTRUDER, "grpc://127.0.0.1:{}".format(port), str(secret)]
    process = copy.start([*network, *intruder], cwd=str(copy.folder))
    assert "not for you" in copy.finish(process)[1]
    with open("/proc/{}/net/tcp6".format(pid_of(task, "ps", 0))) as file:  # and of IPv4, too
        assert re.search(r" 0{{32}}:{:04X} 0{{32}}:0000 0A ".format(port), file.read())
    os.kill(task.process.pid, signal.SIGINT)
    assert task.finish()[0] == 130
    assert nothing_left_of(task)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_launcher_stopped(launch, number):
    task = launch(*SLOWLY, "--exposed")
    for name in ("worker 0", "worker 1"):
        task.wait_for("^{}: step ".format(name))
    os.kill(task.process.pid, number)
    task.process.wait(10)
    assert nothing_left_of(task)


def test_worker_dies(launch):
    task = launch(*SLOWLY, "--exposed")
    for name in ("worker 0", "worker 1"):
        task.wait_for("^{}: step ".format(name))
    os.kill(pid_of(task, "worker", 1), signal.SIGKILL)
    task.wait_for("^worker 1 was ended by SIGKILL$")
    status, lines = task.finish()
    assert status == 1
    assert cells(lines, "worker 0")
    assert not any(line.startswith("worker 1   ") for line in lines)
    assert lines[-1].startswith("worker 1 was ended by SIGKILL")
    assert nothing_left_of(task)


def test_ps_dies_and_the_work_is_kept(launch, copy):
    folder = copy.elsewhere / "checkpoints"
    flags = (*SLOWLY, "--checkpoint_dir", str(folder), "--exposed")
    task = launch(*flags)
    for name in ("worker 0", "worker 1"):
        task.wait_for("^{}: step ".format(name))
    until(lambda: list(folder.glob("*.index")))
    os.kill(pid_of(task, "ps", 0), signal.SIGKILL)
    status, lines = task.finish(30)
    assert status == 1
    assert any(line.startswith("ps 0 was ended by SIGKILL") for line in lines)
    assert nothing_left_of(task)

    status, lines = launch(*flags).finish()
    assert status == 0
    assert cells(lines, "together")[0] <= 301


def test_one_round_with_checkpoints(launch):
    status, lines = launch("--checkpoint_dir", "x", "--rounds", 2).finish()
    assert (status, len(lines)) == (2, 1)
    assert "--checkpoint_dir" in lines[0]


# ------------------------------------------------------------------ what it costs

BYTES = 4 * (1024 * 1024 + 1024 + 1024 + 1)  # weights and biases of both layers, float32


def test_bytes_moved(launch, network):
    status, lines = launch("--workers", 1, "--steps", 300, "--exposed").finish()
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
    rows = results.cluster_rows(workers, 100)
    assert rows["worker 0"]["ms"] == 100
    assert rows["worker 0"]["examples_per_s"] == 1000
    assert rows["together"]["steps"] == 32
    assert rows["together"]["accuracy"] == pytest.approx(0.7)
    assert rows["together"]["examples_per_s"] == pytest.approx(30 * 100 / 2.0)  # 100.5 to 102.5


def test_rows_of_a_worker_that_found_nothing_to_do():
    rows = results.cluster_rows({"worker 0": figures(0, 0.0, 1.0)}, 100)
    assert rows["worker 0"]["ms"] is None
    assert rows["together"]["examples_per_s"] is None


def test_cost():
    rounds = [
        {"one process": {"ms": alone}, "worker 0": {"ms": worker}}
        for alone, worker in ((3, 10), (4, 10), (5, 10))
    ]
    cost = results.cluster_cost(rounds, 10**6)
    assert cost["share"] == pytest.approx([0.55, 0.6, 0.65])
    # 10^6 bytes in 10 ms are 0.8 Gbit/s.
    expected = {"1": 1.25, "10": 12.5, "100": 125}
    assert cost["workers_that_fill"] == pytest.approx(expected)


def test_readme_shows_what_was_measured():
    readme = (ROOT / "going_further" / "README.md").read_text()
    measured = ROOT / "going_further" / "measured"
    data = json.loads((measured / "cluster.json").read_text())
    assert "\n".join(launcher.table(data["rounds"])) in readme
    data = json.loads((measured / "cluster_cost.json").read_text())
    assert data["settings"]["workers"] == 1
    cost = results.cluster_cost(data["rounds"], BYTES)
    lines = launcher.table(data["rounds"]) + launcher.cost_table(cost, data["moved_per_step"])
    assert "\n".join(lines) in readme
    assert "{:,} bytes".format(BYTES) in readme
    assert data["moved_per_step"] == pytest.approx(2 * BYTES, rel=0.01)
    assert "{:.1%}".format(4 * 1024 * 1024 / BYTES).replace("%", " %") in readme


def test_flags_of_the_readme_exist(copy):
    readme = (ROOT / "going_further" / "README.md").read_text()
    section = readme[readme.index("## On a cluster") :]
    flags = set(re.findall(r"--[a-z_]+", section)) - {"--help"}
    assert {"--ps_hosts", "--checkpoint_dir", "--wait_secs", "--exposed"} <= flags
    known = ""
    for module in ("cluster", "distributed_training"):
        process = copy.start(copy.module(module, "--help"), cwd=str(copy.folder))
        status, stdout, stderr = copy.finish(process)
        assert (status, stderr) == (0, "")
        known += stdout
    assert flags <= set(re.findall(r"--[a-z_]+", known))
