"""The trace and the pictures: what they show of what was measured."""

import itertools
import json
import re
import shutil
import struct
from statistics import median

import numpy as np
import pytest

from conftest import ROOT
from going_further import figures, results, trace

MEASURED = ROOT / "going_further" / "measured"

# ------------------------------------------------------------------ the trace


def spans_of(events, pid, name):
    return [
        (event["ts"], event["ts"] + event["dur"])
        for event in events
        if event["pid"] == pid and event["name"] == name
    ]


def common_us(spans, others):
    return sum(
        max(0, min(end, other_end) - max(start, other_start))
        for start, end in spans
        for other_start, other_end in others
    )


def test_trace(copy):
    flags = ("--read_latency_ms", 3, "--steps", 4, "--json", "trace.json")
    status, stdout, stderr = copy.run_module("trace", *flags)
    assert (status, stderr) == (0, "")
    data = json.loads((copy.folder / "trace.json").read_text())
    events = data["traceEvents"]
    for event in events:  # as Chrome's trace format wants them
        assert event["ph"] in "MX"
        assert {"pid", "tid", "name"} <= set(event)
        assert event["ph"] == "M" or (event["ts"] >= 0 and event["dur"] > 0)
    named = [event["args"]["name"] for event in events if event["ph"] == "M"]
    lanes = ["input", "training"]
    assert named == ["01_feed_dict_baseline.py"] + lanes + ["04_queue_pipeline_training.py"] + lanes

    for pid in (1, 2):
        computing = spans_of(events, pid, "computing")
        assert len(computing) == 4
        reading = spans_of(events, pid, "reading")
        assert len(reading) >= 2
        whole = [end - start for start, end in reading[1:-1]]
        assert all(us > 2900 for us in whole)  # each sleeps for 3 ms
        overlap = common_us(reading, computing)
        assert (overlap > 500) if pid == 2 else (overlap == 0)
        shown = re.findall(r"reading while computing (\S+)", stdout)[pid - 1]
        assert float(shown) == pytest.approx(overlap / 4000, abs=0.0051)
    assert len(spans_of(events, 1, "copying")) == 4
    assert spans_of(events, 2, "copying") == []
    assert not copy.timings.exists()  # such runs are not to be compared
    for pace in data["paces"].values():
        assert pace["usual_ms"] > 3  # each read sleeps for 3 ms, or the queue waits for it
        assert pace["recorded_ms"] > 3
    status, stdout, stderr = copy.run_module("figures", "--dir", ".")
    assert (status, stderr) == (0, "")
    assert stdout == "Wrote ./overlap.png\n"


def test_spans_by_hand():
    reading = [("input/filesystem/wait", 10, 30), ("input/label/Sum", 31, 35)]
    step = [("_arg_input/x", 50, 51), ("model/hidden/MatMul", 52, 70), ("training/Adam", 71, 80)]
    runs = [reading, step + [("training/train_step", 80, 81)]]
    later = [[(name, start + 100, end + 100) for name, start, end in ops] for ops in runs]
    found, ends = trace.spans(runs + later)
    assert ends == [81, 181]
    assert trace.clipped(found, *ends) == [
        (1, "reading", 29, 54),
        (1, "copying", 54, 71),
        (2, "computing", 71, 100),
    ]
    step = [
        ("input/fifo_queue", 50, 51),
        ("model/hidden/weights", 50, 51),
        ("input/x", 52, 60),
        ("model/hidden/MatMul", 61, 70),
        ("training/train_step", 80, 81),
    ]
    reading = [("input/filesystem/read", 110, 130), ("input/fifo_queue_enqueue", 131, 150)]
    later = [(name, start + 100, end + 100) for name, start, end in step]
    found, ends = trace.spans([step, reading, later])
    assert trace.clipped(found, *ends) == [
        (1, "reading", 29, 49),
        (1, "waiting: queue full", 50, 69),
        (2, "waiting: queue empty", 71, 79),
        (2, "computing", 79, 100),
    ]


def test_steps_at_the_usual_pace_are_shown():
    # Steps of 4 us, but for two slow ones, and three that took 3 us.
    ends = list(itertools.accumulate([4, 4, 4, 9, 9, 4, 3, 3, 3, 4, 4, 4]))
    assert trace.typical(ends, 3, 4.0) == (ends[8], ends[11])
    assert trace.typical(ends, 3, 3.0) == (ends[5], ends[8])


# ------------------------------------------------------------------ the pictures

BLUE, SKY, ORANGE, GREEN, GREY = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#BBBBBB"
COLOURS = {  # by picture
    "variants.png": [BLUE, SKY, ORANGE, GREEN, GREY],
    "read_latency.png": [BLUE, SKY, ORANGE],
    "overlap.png": [BLUE, ORANGE, GREEN, GREY],
    "overlap_slow_disk.png": [BLUE, ORANGE, GREEN],
    "refills.png": [BLUE, ORANGE],
}


def pixels(path, colour):
    """How many pixels of a PNG have this colour."""
    from matplotlib import image

    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return int(np.all(abs(image.imread(str(path))[:, :, :3] - rgb) < 0.01, axis=2).sum())


def test_pictures_are_drawn_from_files(copy):
    for name, *_ in figures.FIGURES:
        shutil.copy(str(MEASURED / name), str(copy.elsewhere))
    status, stdout, stderr = copy.run_module("figures", "--dir", copy.elsewhere)
    assert (status, stderr) == (0, "")
    assert stdout.count("Wrote") == len(COLOURS) == len(figures.FIGURES)
    for name, colours in COLOURS.items():
        for folder in (copy.elsewhere, MEASURED):  # that in the repository too
            picture = folder / name
            assert picture.stat().st_size < 150000
            assert struct.unpack(">I", picture.read_bytes()[16:20]) == (1280,)
            for colour in colours:
                assert pixels(picture, colour) > 100
    assert len(list(copy.elsewhere.iterdir())) == 2 * len(COLOURS)


def test_points_are_the_medians():
    from matplotlib.figure import Figure

    figure, kind = Figure(), "a benchmark over read_latency_ms"
    data = results.load(str(MEASURED / "read_latency.json"), kind)
    figures.read_latency(figure, data)
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    for name, line in zip(("feed_dict", "queue, 1 thread", "queue, 4 threads"), points):
        rows = [row for row in data["rows"] if row["variant"] == name]
        assert line.get_xdata().tolist() == [row["read_latency_ms"] for row in rows]
        assert line.get_ydata() == pytest.approx([median(row["ms"]) for row in rows])
    assert len(points) == 3


PRINTED = """Dequeued, elements left: [1.5][0]
Exercise: the queue holds 1, a refill brings 2, and we dequeue 2 times.
Generated, call: [1][-0.5 10.1]
I tensorflow/core/kernels/logging_ops.cc:79] Dequeued, elements left: [-0.5][1]
Generated, call: [2][1 2]
Dequeued, elements left: [1e-05][0]
"""


def test_refills_by_hand():
    from matplotlib.figure import Figure

    figure = Figure()
    figures.refills(figure, PRINTED)
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert bars == [1, 0, 0, 2]  # in the queue after each dequeue, then those that wait
    lines = [line.get_xdata()[0] for line in figure.axes[0].lines[1:]]
    assert lines == [0.5, 1.5]  # before the first and the second dequeue


def test_what_cannot_be_drawn_costs_a_line(copy, monkeypatch):
    def fails(folder):
        monkeypatch.setattr("sys.argv", ["figures", "--dir", str(folder)])
        with pytest.raises(SystemExit) as end:
            figures.main()
        assert "\n" not in end.value.code
        return end.value.code

    assert "There is nothing to draw in" in fails(copy.elsewhere)
    shutil.copy(str(MEASURED / "trace.json"), str(copy.elsewhere))
    (copy.elsewhere / "overlap.png").mkdir()
    assert "overlap.png is not written: Is a directory" in fails(copy.elsewhere)
    results.save(str(copy.elsewhere / "benchmark.json"), "something else", {})
    assert "benchmark.json does not hold a benchmark of variants" in fails(copy.elsewhere)


def test_missing_matplotlib(copy):
    (copy.folder / "matplotlib.py").write_text(
        "raise ImportError(\"No module named 'matplotlib'\")"
    )
    status, stdout, stderr = copy.run_module("figures", "--dir", MEASURED)
    assert (status, stdout) == (1, "")
    assert re.match(r"No module named 'matplotlib'. Type: .* -m pip install -r .*\n$", stderr)
    assert str(copy.folder / "going_further" / "requirements.txt") in stderr
