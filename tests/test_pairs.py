"""make pairs: 01 and 04 by turns, compared with each other and with the forecast."""

import json
import re
import sys

import pytest

from conftest import executable
from going_further import pairs
from support import tf

pytestmark = pytest.mark.xdist_group("going_further")


def run(variant, seconds, **parts):
    settings = {"tensorflow": "1.15.5", "read_latency_ms": 3, "steps": 1000}
    return dict(settings, variant=variant, seconds=seconds, device="CPU with 2 cores", **parts)


def fed(seconds, fetching_seconds, cpu_seconds):
    return run("feed_dict", seconds, fetching_seconds=fetching_seconds, cpu_seconds=cpu_seconds)


def test_each_04_is_compared_with_the_01_before_it():
    runs = [
        fed(10.0, 6.0, 6.0),  # training 4 ms, input 6, CPU time of both on 2 cores 3
        run("queue, threads 1, capacity 5", 9.0),
        run("queue, threads 4, capacity 5", 4.0),
        fed(20.0, 12.0, 12.0),
        run("queue, threads 1, capacity 5", 12.0),
        run("queue, threads 4, capacity 5", 10.0),
    ]
    one, four = pairs.summarize(runs, cores=2)
    assert (one["tensorflow"], one["read_latency_ms"], one["threads"]) == ("1.15.5", 3, 1)
    assert (one["feed_dict_ms"], one["queue_ms"]) == (15, 10.5)
    assert one["of_feed_dict"] == pytest.approx([0.6, 0.75, 0.9])
    assert one["of_forecast"] == pytest.approx([1.0, 1.25, 1.5])  # of 6 and 12 ms
    assert four["threads"] == 4
    assert four["of_forecast"] == pytest.approx([1.0, 1.125, 1.25])  # of 4 and 8 ms
    line = pairs.table([one, four])[1]
    assert line.split() == "1.15.5 3 ms 1 15.00 10.50 0.75 (0.60-0.90) 1.25 (1.00-1.50)".split()


def test_the_oldest_tensorflow_comes_first():
    runs = []
    for version in ("2.21.0", "1.15.5", "1.4.1"):
        queues = [run(f"queue, threads {n}, capacity 5", 9.0) for n in (1, 4)]
        runs += [dict(one, tensorflow=version) for one in (fed(10.0, 6.0, 6.0), *queues)]
    rows = pairs.summarize(runs, cores=2)
    found = [(row["tensorflow"], row["threads"]) for row in rows]
    assert found == [(version, n) for version in ("1.4.1", "1.15.5", "2.21.0") for n in (1, 4)]


def test_it_goes_on_where_it_was_interrupted(copy):
    folder = copy.folder / ".versions" / "1.4.1"  # this TensorFlow stands for it
    (folder / "bin").mkdir(parents=True)
    (folder / "ready").touch()
    flags = "--releases 1.4.1 --read_latency_ms 2 --rounds 1 --steps 20 --json pairs.json".split()

    def call():
        command = copy.module("pairs", *flags)
        return copy.finish(copy.start(command, cwd=str(copy.folder)))

    stops = f'case "$*" in *threads=4*) exit 9;; esac\nexec "{sys.executable}" "$@"\n'
    executable(folder / "bin" / "python", stops)
    status, stdout, stderr = call()
    assert status == 1
    assert stderr.startswith("TensorFlow 1.4.1, 2 ms: 04, threads 4: ")
    assert stderr.count("\n") == 1
    assert stdout.count("\nrun ") == 2
    assert not (copy.folder / "pairs.json").exists()

    executable(folder / "bin" / "python", f'exec "{sys.executable}" "$@"\n')
    status, stdout, stderr = call()
    assert (status, stderr) == (0, "")
    assert stdout.startswith("Going on where a call was interrupted, after 2 runs.")
    assert re.findall(r"^run (\d) of 3: .*$", stdout, re.M) == ["3"]
    data = json.loads((copy.folder / "pairs.json").read_text())
    variants = [one["variant"] for one in data["runs"]]
    assert variants == ["feed_dict"] + [f"queue, threads {n}, capacity 5" for n in (1, 4)]
    assert {one["tensorflow"] for one in data["runs"]} == {tf.__version__}
    assert "\n".join(pairs.table(pairs.summarize(data["runs"], data["machine"]["cores"]))) in stdout
    assert not copy.timings.exists()  # the reader's own file is left alone
    assert sorted(path.name for path in (copy.folder / ".versions").iterdir()) == ["1.4.1"]
