"""The trace, the figures, and the page's code that records a timeline."""

import json
import re
import shutil

import numpy as np
import pytest
from matplotlib import image

from benchmarks import figures, trace
from conftest import ROOT
from support import tf

RESULTS = ROOT / "benchmarks" / "results"


def test_the_trace_shows_that_only_04_reads_while_it_computes(copy):
    flags = ("--read_latency_ms", 3, "--steps", 4, "--json", "overlap.json")
    status, stdout, stderr = copy.run_module("benchmarks.trace", *flags)
    assert (status, stderr) == (0, "")
    spans = json.loads((copy.folder / "overlap.json").read_text())["spans"]
    for script in trace.SCRIPTS:
        assert script + ": 4 steps in " in stdout
        mine = [span[1:] for span in spans if span[0] == script]
        reading = [(start, end) for _, what, start, end in mine if what == "reading"]
        computing = [(start, end) for _, what, start, end in mine if what == "computing"]
        assert len(computing) == 4
        at_once = [
            (read, step)
            for read in reading
            for step in computing
            if max(read[0], step[0]) < min(read[1], step[1])
        ]
        assert bool(at_once) == script.startswith("04")
    status, stdout, stderr = copy.run_module("benchmarks.figures", "--dir", ".")
    assert (status, stdout, stderr) == (0, "Wrote ./overlap.png\n", "")


def repeated(*calls):
    """Returns the ops of calls that are made 5 times, every 100 us."""
    return [
        [(name, start + later, end + later) for name, start, end in ops]
        for later in range(0, 500, 100)
        for ops in calls
    ]


def test_spans_are_those_computed_by_hand():
    reading = [("input/file_system/wait", 10, 30), ("input/label/Sum", 31, 35)]
    step = [("_arg_input/x", 50, 51), ("model/hidden/MatMul", 52, 70), ("training/Adam", 71, 80)]
    calls = repeated(reading, [*step, ("training/train_step", 80, 81)])
    assert trace.spans([[("model/hidden/weights/Assign", 1, 2)], *calls], 1) == [
        ("training", "between two sess.run() calls", 0, 29),
        ("input", "reading", 29, 54),
        ("training", "between two sess.run() calls", 54, 71),
        ("training", "computing", 71, 100),
    ]
    reading = [("input/file_system/read", 10, 30), ("input/fifo_queue_enqueue", 31, 50)]
    step = [
        ("input/fifo_queue", 50, 51),
        ("model/hidden/weights", 50, 51),
        ("input/x", 52, 60),
        ("model/hidden/MatMul", 61, 70),
        ("training/train_step", 80, 81),
    ]
    assert trace.spans(repeated(reading, step), 1) == [
        ("training", "between two sess.run() calls", 0, 71),
        ("input", "reading", 29, 49),
        ("input", "blocked by the queue", 50, 69),
        ("training", "blocked by the queue", 71, 79),
        ("training", "computing", 79, 100),
    ]


def pixels(path, color):
    """Returns how many pixels of a PNG have this color."""
    rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return int(np.all(abs(image.imread(str(path))[:, :, :3] - rgb) < 0.01, axis=2).sum())


def test_each_figure_is_drawn_in_all_its_colors(copy):
    for name in figures.FIGURES:
        shutil.copy(str(RESULTS / (name + ".json")), str(copy.elsewhere))
    status, stdout, stderr = copy.run_module("benchmarks.figures", "--dir", copy.elsewhere)
    assert (status, stdout.count("Wrote"), stderr) == (0, len(figures.FIGURES), "")
    latency = {figures.ORANGE, figures.BLUE, figures.SKY}
    for name in figures.FIGURES:
        for folder in (copy.elsewhere, RESULTS):  # the one in the repository, too
            path = folder / (name + ".png")
            for color in latency if name == "read_latency" else figures.COLORS.values():
                assert pixels(path, color) > 100, (name, color)


def test_a_figure_that_cannot_be_drawn_is_reported_in_one_line(tmp_path, monkeypatch):
    def fails(words):
        monkeypatch.setattr("sys.argv", ["figures", "--dir", str(tmp_path)])
        with pytest.raises(SystemExit, match=words) as end:
            figures.main()
        assert "\n" not in end.value.code

    fails("has no results to draw")
    shutil.copy(str(RESULTS / "overlap.json"), str(tmp_path))
    (tmp_path / "overlap.png").mkdir()
    fails("overlap.png wasn't written: Is a directory")


def test_the_timeline_of_a_program_shows_its_ops(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    (code,) = re.findall(r"^```python timeline\n(.*?)```", page, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    with tf.Graph().as_default(), tf.Session() as sess:
        queue = tf.FIFOQueue(1, [tf.float32], [[2, 2]], name="queue")
        weights = tf.Variable(tf.ones([2, 2]))
        train_step = tf.matmul(queue.dequeue(name="x"), weights, name="product")
        sess.run(tf.global_variables_initializer())
        sess.run(queue.enqueue(tf.ones([2, 2])))
        exec(code, {"tf": tf, "sess": sess, "train_step": train_step})
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    ops = {event["args"]["name"] for event in events if event["ph"] == "X"}
    assert {"x", "product"} <= ops
