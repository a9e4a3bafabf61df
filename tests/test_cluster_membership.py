"""Which task a process is: what is refused, and with which words."""

import json
import socket
import sys
from contextlib import closing

import pytest

from cluster_tools import free_ports
from going_further.cluster import membership

LOCAL = ["--ps_hosts", "127.0.0.1:2222", "--worker_hosts", "127.0.0.1:2223,127.0.0.1:2224"]


def tf_config(**changes):
    config = {
        "cluster": {"ps": ["127.0.0.1:2222"], "worker": ["127.0.0.1:2223"]},
        "task": {"type": "worker", "index": 0},
    }
    return json.dumps(dict(config, **changes))


def task(job, index):
    return ["--job_name", job, "--task_index", str(index)]


REFUSED = {  # flags, TF_CONFIG, exit status, what the line names
    "nothing said": ([], None, 2, "TF_CONFIG"),
    "job missing": (["--task_index", "0"] + LOCAL, None, 2, "--job_name"),
    "index missing": (["--job_name", "ps"] + LOCAL, None, 2, "--task_index"),
    "no such job": (task("chief", 0) + LOCAL, None, 2, "--job_name"),
    "no such worker": (task("worker", 2) + LOCAL, None, 2, "worker 2"),
    "no such ps": (task("ps", 1) + LOCAL, None, 2, "ps 1"),
    "negative": (task("ps", -1) + LOCAL, None, 2, "--task_index"),
    "no port": (["--ps_hosts", "localhost"], None, 2, "--ps_hosts"),
    "port 0": (["--ps_hosts", "localhost:0"], None, 2, "--ps_hosts"),
    "port 65536": (["--ps_hosts", "localhost:65536"], None, 2, "--ps_hosts"),
    "a URL": (["--ps_hosts", "grpc://localhost:2222"], None, 2, "--ps_hosts"),
    "empty": (["--worker_hosts", ""], None, 2, "--worker_hosts"),
    "twice": (["--worker_hosts", "a:1,a:1"], None, 2, "--worker_hosts"),
    "both": (
        task("ps", 0) + ["--ps_hosts", "a:1", "--worker_hosts", "a:1"],
        None,
        2,
        "a ps and a worker have the same HOST:PORT",
    ),
    "does not resolve": (
        task("ps", 0) + LOCAL[:2] + ["--worker_hosts", "nowhere.invalid:2222"],
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
        task("worker", 0) + ["--checkpoint_dir", "/dev/null/x"] + LOCAL,
        None,
        2,
        "--checkpoint_dir",
    ),
    "figures": (task("worker", 0) + ["--json", "/dev/null/x"] + LOCAL, None, 2, "/dev/null/x"),
}


def parse(monkeypatch, flags, config=None):
    monkeypatch.setattr(sys, "argv", ["distributed_training.py", *flags])
    return membership.parse("", {"TF_CONFIG": config} if config else {})


def refusal(monkeypatch, capsys, flags, config=None):
    """(status, text) of a refusal. An exit with a text has status 1, and Python prints the text."""
    with pytest.raises(SystemExit) as caught:
        parse(monkeypatch, flags, config)
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    code = caught.value.code
    return (code, stderr) if isinstance(code, int) else (1, stderr + code + "\n")


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused(monkeypatch, capsys, case):
    flags, config, status, named = REFUSED[case]
    found, text = refusal(monkeypatch, capsys, flags, config)
    assert found == status
    assert named in text
    assert text.count("\n") == (2 if case == "nothing said" else 1)


@pytest.mark.parametrize("job", ["ps", "worker"])
def test_port_in_use(monkeypatch, capsys, job):
    with closing(socket.socket()) as taken:
        taken.bind(("", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        hosts = {"ps": "127.0.0.1:1", "worker": "127.0.0.1:1"}
        hosts[job] = "127.0.0.1:{}".format(port)
        flags = ["--ps_hosts", hosts["ps"], "--worker_hosts", hosts["worker"]]
        status, text = refusal(monkeypatch, capsys, task(job, 0) + flags)
    assert status == 1
    assert "{} 0 can't serve on port {}".format(job, port) in text


def test_refused_before_tensorflow_loads(copy):
    (copy.folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    for flags, expected in ((["--task_index", "x"], 2), (REFUSED["does not resolve"][0], 1)):
        command = copy.module("cluster.distributed_training", *flags)
        status, stdout, stderr = copy.finish(copy.start(command, cwd=str(copy.folder)))
        assert (status, stdout, stderr.count("\n")) == (expected, "", 1)
        assert "was loaded" not in stderr


def test_accepted(monkeypatch):
    ports = free_ports(3)
    hosts = ["[::1]:{}".format(ports[0])] + ["127.0.0.1:{}".format(port) for port in ports[1:]]
    flags = ["--ps_hosts", hosts[0], "--worker_hosts", ",".join(hosts[1:]), *task("worker", 1)]
    given, member = parse(monkeypatch, flags, "the flags count")
    assert given.steps == 5000
    assert member.cluster == {"ps": hosts[:1], "worker": hosts[1:]}
    assert (member.job, member.index, member.is_chief) == ("worker", 1, False)
    assert member.device == "/job:worker/task:1"
    assert member.address("ps", 0) == ("::1", ports[0])

    config = tf_config(cluster=member.cluster)
    _, member = parse(monkeypatch, ["--steps", "7"], config)
    assert (member.job, member.index, member.is_chief) == ("worker", 0, True)
    assert member.name("worker", 1) == "worker 1 ({})".format(hosts[2])
