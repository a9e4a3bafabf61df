"""Clusters of real processes: how they train, and what they survive."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from cluster_tools import STARTS, STEP, Cluster, cluster_fixture, network_fixture, steps_of, until  # noqa: F401
from conftest import Copy
from going_further import records
from going_further.cluster.task import find_checkpoint
from support import tf

pytestmark = pytest.mark.xdist_group("cluster")

# ------------------------------------------------------------------ training


def test_one_worker_trains_as_04_does(cluster, tmp_path):
    one = cluster(1)
    config = {"cluster": {"ps": one.hosts[:1], "worker": one.hosts[1:]}}
    flags = ("--steps", 40, "--seed", 7, "--json", tmp_path / "figures.json")
    tasks = []
    for job in ("ps", "worker"):
        config["task"] = {"type": job, "index": 0}
        env = {"TF_CONFIG": json.dumps(config), "http_proxy": "http://127.0.0.1:9"}
        tasks.append(one.start(job, 0, *flags, env=env))
    status, lines = tasks[1].finish()
    assert status == 0

    _, stdout, _ = one.copy.run("04", "--steps", 40, "--seed", 7, "--batch_size", 16)
    expected = re.findall(r"^(?:accuracy before|step .*)$", stdout, re.M)[:-1]  # 04 does 41 steps
    assert len(expected) == 10
    assert [line for line in lines if line.startswith("step  ")] == expected
    # weights and biases of both layers, in float32
    size = 4 * (1024 * 1024 + 1024 + 1024 + 1)
    assert any("gets {} bytes of variables".format(size) in line for line in lines)

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["steps"], figures["timed_steps"]) == (40, 39)
    assert figures["bytes_each_way"] == size
    assert "time: {:.2f} s for 39 steps".format(figures["seconds"]) in lines
    assert "accuracy after: {:.3f}".format(figures["accuracy"]) in lines


def test_steps_are_the_clusters_and_are_kept(cluster, capsys):
    two = cluster(2)
    flags = ("--steps", 60)
    second = two.start("worker", 1, *flags)
    second.wait_for(r"^waiting for ps 0 \({}\)$".format(two.hosts[0]))
    two.start("ps", 0, *flags)
    second.wait_for(r"^waiting for worker 0 \({}\) to start$".format(two.hosts[1]))
    workers = [two.start("worker", 0, *flags), second]
    ends = [worker.finish() for worker in workers]
    assert [status for status, _ in ends] == [0, 0]
    done = sum(steps_of(lines)[1] for _, lines in ends)
    assert 60 <= done <= 61  # the second may have begun its last step when the other did its own
    kept = two.checkpoint()
    assert kept in (60, 61)

    # A ps that is there already refuses its port to another.
    status, lines = two.start("ps", 0).finish()
    assert status == 1
    assert len(lines) == 1
    assert "can't serve on port" in lines[0]

    # The next training with that folder goes on: here, nothing is left to do.
    status, lines = two.start("worker", 0, *flags).finish()
    assert "steps of the cluster: {} of 60".format(kept) in lines
    assert (status, steps_of(lines)) == (0, (kept, 0))

    # A checkpoint is damaged.
    (data,) = two.checkpoint_dir.glob("model.ckpt-{}.data*".format(kept))
    for damaged in (data, two.checkpoint_dir / "model.ckpt-{}.index".format(kept)):
        damaged.write_bytes(b"damaged")
        before = set(two.checkpoint_dir.glob("model*"))
        status, lines = two.start("worker", 0, "--steps", 100).finish()
        assert status == 1
        assert str(two.checkpoint_dir) in lines[-1]
        assert "name another --checkpoint_dir" in lines[-1]
        assert not any("Traceback" in line for line in lines)
        assert set(two.checkpoint_dir.glob("model*")) == before

    # The file that names the latest one is damaged.
    (two.checkpoint_dir / "checkpoint").write_bytes(b"damaged")
    with pytest.raises(SystemExit) as caught:
        find_checkpoint(str(two.checkpoint_dir))
    assert str(two.checkpoint_dir) in caught.value.code
    assert "name another --checkpoint_dir" in caught.value.code


def test_no_checkpoint(tmp_path):
    assert find_checkpoint(None) is None
    assert find_checkpoint(str(tmp_path)) is None
    assert find_checkpoint(str(tmp_path / "none")) is None


# ------------------------------------------------------------------ what it survives

# It lasts until it is stopped, and shows often that it gets on.
ENDLESS = ("--steps", 10**6, "--log_steps", 5, "--read_latency_ms", 100)


def test_without_checkpoints_all_is_lost_with_the_chief_or_the_ps(cluster):
    two = cluster(2)
    flags = (*ENDLESS, "--wait_secs", 2)

    def chief_alone():
        """Start the chief. Returns: it, and how its training begins."""
        chief = two.start("worker", 0, *flags, keep=False)
        assert int(chief.wait_for(STARTS).group(1)) == 0
        chief.wait_for("^no --checkpoint_dir: nothing is kept$")
        return chief, [chief.wait_for(line).string for line in ("^accuracy before", STEP)]

    ps = two.start("ps", 0, *flags)
    chief, begins = chief_alone()
    other = two.start("worker", 1, *flags)
    while other.goes_on() < 30:
        pass

    # Started again, the chief makes a new model, and draws what it drew for the first one. The
    # other worker, which is held meanwhile, goes on with that.
    chief.kill()
    other.goes_on()
    other.process.send_signal(signal.SIGSTOP)
    chief, begins_again = chief_alone()
    assert begins_again == begins
    other.process.send_signal(signal.SIGCONT)
    assert other.goes_on() < 30
    chief.goes_on()
    assert not any("lost" in line for line in other.lines)

    # The ps is killed for good.
    ps.kill()
    for worker in (chief, other):
        status, lines = worker.finish(30)
        assert status == 1
        assert any(line.startswith("lost ps 0 (") for line in lines)
        assert any("did not come back within 2 s." in line for line in lines)
        assert not any("Traceback" in line for line in lines)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory, network):
    """A Cluster of 2 workers for all tests below: each does something to it."""
    cluster = Cluster(Copy(tmp_path_factory.mktemp("lasting")), network, 2)
    cluster.ps = cluster.chief = cluster.other = None
    yield cluster
    cluster.stop()


FLAGS = (*ENDLESS, "--save_secs", 1, "--stalled_secs", 4)


def revive(cluster, name, job, index):
    task = getattr(cluster, name)
    if task is None or task.process.poll() is not None:
        setattr(cluster, name, cluster.start(job, index, *FLAGS))


@pytest.fixture
def chief_trains(lasting):
    """The Cluster, whose chief trains."""
    revive(lasting, "ps", "ps", 0)
    revive(lasting, "chief", "worker", 0)
    lasting.chief.goes_on()
    return lasting


@pytest.fixture
def both_train(lasting):
    """The Cluster, whose two workers train, and of which there is a checkpoint."""
    revive(lasting, "ps", "ps", 0)
    revive(lasting, "chief", "worker", 0)
    revive(lasting, "other", "worker", 1)
    lasting.chief.goes_on()
    lasting.other.goes_on()
    until(lambda: lasting.checkpoint() > 1)
    return lasting


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
        pytest.param(FAILS, 10, "the disk is on fire", id="fails"),
        pytest.param(ENDS, 10, "This worker's reader has no data left.", id="ends"),
    ],
)
def test_reader_fails(chief_trains, copy, reader, n, message):
    copy.append("common.py", COUNTS + reader.format(n))
    status, lines = chief_trains.start("worker", 1, *FLAGS, copy=copy).finish()
    assert status == 1
    assert any(message in line for line in lines)
    assert not any("accuracy after" in line or "of this worker" in line for line in lines)
    chief_trains.chief.goes_on()


def test_worker_is_killed_and_started_again(both_train):
    both_train.other.kill()
    both_train.chief.goes_on()
    both_train.other = both_train.start("worker", 1, *FLAGS)
    assert int(both_train.other.wait_for(STARTS).group(1)) > 0
    both_train.other.goes_on()
    both_train.chief.goes_on()
    assert not any("lost" in line for line in both_train.chief.lines)


def test_chief_is_killed_and_started_again(both_train):
    both_train.chief.kill()
    kept = both_train.checkpoint()
    lead = 0
    while lead < kept + 20:
        lead = both_train.other.goes_on()
    both_train.chief = both_train.start("worker", 0, *FLAGS)
    start = int(both_train.chief.wait_for(STARTS).group(1))
    assert kept <= start < lead  # back at the checkpoint, from where the other goes on as well
    both_train.chief.goes_on()
    steps = [int(step) for step in re.findall(STEP, "\n".join(both_train.other.lines), re.M)]
    assert steps != sorted(steps)


def test_ps_is_killed_and_comes_back(both_train):
    both_train.ps.kill()
    workers = both_train.chief, both_train.other
    for worker in workers:
        worker.wait_for(r"^lost ps 0 \({}\): waiting up to 60 s".format(both_train.hosts[0]), 30)
    kept = both_train.checkpoint()
    both_train.ps = both_train.start("ps", 0, *FLAGS)
    for worker in workers:
        worker.wait_for("^starting again$")
    start = int(both_train.chief.wait_for(STARTS).group(1))
    assert kept <= start <= kept + 20  # the other may have gone on before
    for worker in workers:
        worker.goes_on()
        assert not any("Traceback" in line for line in worker.lines)


def test_ps_hangs(both_train):
    both_train.ps.process.send_signal(signal.SIGSTOP)
    for worker in (both_train.chief, both_train.other):
        worker.wait_for("^no step for 4 s, though every ps can be reached$", 30)
    both_train.ps.process.send_signal(signal.SIGCONT)
    for worker in (both_train.chief, both_train.other):
        worker.goes_on()


SWITCH = "from going_further.cluster import hiding; hiding.switch_loopback(on={})"


def test_network_fails_and_comes_back(both_train):
    if not both_train.network:
        pytest.skip("this system grants no network to switch off")

    def switch(on):
        code = [sys.executable, "-c", SWITCH.format(on)]
        subprocess.check_call(both_train.network + code, cwd=str(both_train.copy.folder))

    workers = both_train.chief, both_train.other
    switch(on=False)
    try:
        for worker in workers:
            worker.wait_for(r"^lost ps 0 \({}\): waiting".format(both_train.hosts[0]), 30)
    finally:
        switch(on=True)
    for worker in workers:
        worker.wait_for("^starting again$")
        worker.wait_for(STARTS)
    for worker in workers:
        worker.goes_on()
        assert not any("Traceback" in line for line in worker.lines)


# ------------------------------------------------------------------ files

SEEN = r"^examples seen by this worker: (\d+), that is 2 times (\d+)$"


@pytest.fixture
def files(tmp_path):
    """A folder with 5 files of 20 examples each."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(5):
        with tf.python_io.TFRecordWriter(str(folder / "{}.tfrecord".format(number))) as writer:
            for _ in range(20):
                writer.write(records.example(np.ones(1024, np.float32), 1))
    return folder


def test_workers_read_each_example_as_often_as_asked(cluster, files):
    two = cluster(2)
    flags = ("--data_dir", files, "--epochs", 2, "--shuffle_examples", 10)
    two.start("ps", 0)
    workers = [two.start("worker", index, *flags) for index in range(2)]
    seen = []
    for worker, share in zip(workers, (3, 2)):
        status, lines = worker.finish()
        assert status == 0, lines
        assert lines[0] == "reads {} of 5 files, each 2 times".format(share)
        assert not any("tensorflow/" in line for line in lines)
        (found,) = re.findall(SEEN, "\n".join(lines), re.M)
        assert int(found[1]) == 20 * share
        seen.append(int(found[0]))
    assert sum(seen) == 2 * 100
    assert two.checkpoint() > 0


def test_too_few_files_are_said_at_once(cluster, files):
    for path in sorted(files.iterdir())[1:]:
        path.unlink()
    status, lines = cluster(2).start("worker", 1, "--data_dir", files).finish()
    assert status == 1
    assert lines == ["{} has 1 file, too few for 2 workers: each needs one.".format(files)]


def test_a_worker_that_starts_again_reads_its_files_again(cluster, files):
    two = cluster(2)
    two.start("ps", 0)
    chief = two.start("worker", 0, "--data_dir", files, "--epochs", 10**6)
    flags = ("--data_dir", files, "--epochs", 10**6, "--log_steps", 1)
    killed = two.start("worker", 1, *flags)
    killed.goes_on()
    killed.kill()
    again = two.start("worker", 1, "--data_dir", files, "--epochs", 2)
    status, lines = again.finish()
    assert status == 0, lines
    (found,) = re.findall(SEEN, "\n".join(lines), re.M)
    assert int(found[0]) == 2 * 40  # all of its share, whatever it had read before
    chief.goes_on()


def test_ps_is_lost_when_the_chief_has_read_its_files(cluster, files):
    two = cluster(2)
    ps = two.start("ps", 0)
    chief = two.start("worker", 0, "--data_dir", files, "--epochs", 1)
    flags = ("--data_dir", files, "--epochs", 10**6, "--log_steps", 1, "--wait_secs", 30)
    other = two.start("worker", 1, *flags)
    assert chief.finish()[0] == 0
    other.goes_on()
    ps.kill()
    other.wait_for("^lost ps 0")
    two.start("ps", 0)
    status, lines = other.finish()
    assert status == 1
    chief = r"worker 0 \({}\)".format(two.hosts[1])
    assert re.match(chief + " did not come back within 30 s. Start it again, then", lines[-1])


def test_steps_end_before_the_files(cluster, files):
    one = cluster(1)
    one.start("ps", 0)
    status, lines = one.start("worker", 0, "--data_dir", files, "--steps", 3).finish()
    assert status == 0, lines
    assert "examples seen by this worker: 48" in lines


def test_a_damaged_file_is_named(cluster, files):
    path = files / "1.tfrecord"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    two = cluster(2)
    two.start("ps", 0)
    chief = two.start("worker", 0, "--data_dir", files, "--epochs", 10**6)
    # Reads so slow that a step waits for the batch which never comes, as at the files' end.
    slow = ("--batch_size", 5, "--shuffle_examples", 0, "--read_latency_ms", 200)
    status, lines = two.start("worker", 1, "--data_dir", files, *slow).finish()
    assert status == 1
    assert lines[-1] == "{}: record 11 is damaged".format(path)
    assert not any("examples seen" in line or "tensorflow/" in line for line in lines)
    chief.goes_on()
