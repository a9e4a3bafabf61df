"""The benchmark, the trace, the figures and tf.data: what they print, keep and draw."""

import itertools
import json
import re
import shutil
import signal
import struct
import sys
import time
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import ROOT, SCRIPTS, Copy
from going_further import benchmark, refills, results, summary, trace, variants
from support import flags as command_line
from support import tf

pytestmark = pytest.mark.xdist_group("going_further")  # which share runs

HAS_TF_DATA = hasattr(tf, "data")  # from TensorFlow 1.4 on
HAS_MAKE_CALLABLE = hasattr(tf.Session, "make_callable")
MEASURED = ROOT / "going_further" / "measured"

# ------------------------------------------------------------------ what follows from figures


@pytest.mark.parametrize(
    "model_ms, read_ms, threads, bound",
    [(3, 1, 1, 3), (3, 4, 1, 4), (3, 4, 2, 3), (3, 16, 4, 4), (3, 3, 1, 3)],
)
def test_perfect_overlap(model_ms, read_ms, threads, bound):
    assert summary.perfect_overlap(model_ms, read_ms, threads) == bound


@pytest.mark.parametrize("model_cpu_ms, read_cpu_ms, cores, bound", [(5, 1, 2, 3), (5, 1, 1, 6)])
def test_cpu_bound(model_cpu_ms, read_cpu_ms, cores, bound):
    assert summary.cpu_bound(model_cpu_ms, read_cpu_ms, cores) == bound


def turns(*pairs):
    return [{"ms": ms, "cpu_ms": cpu_ms} for ms, cpu_ms in pairs]


ROUNDS = {  # the machine is half as fast in the second round, and busy in the third
    "no input": turns((2, 3), (4, 6), (2, 3)),
    "read alone": turns((1, 1), (2, 2), (1, 1)),
    "feed_dict": turns((4, 4), (8, 8), (5, 4)),
    "queue, 1 thread": turns((3, 4), (6, 8), (6, 4)),
    "queue, 4 threads": turns((2.5, 4), (5, 8), (5, 4)),
    "tf.data, 1 thread": turns((4, 4), (8, 8), (4, 4)),
    "tf.data, 4 threads": turns((5, 5), (10, 8), (4, 4)),
}


def test_summary_of_rounds():
    found = summary.summarize(ROUNDS, cores=2)
    rows = found["variants"]
    assert set(rows) == set(ROUNDS) - {"read alone"}
    # Ratios are taken in each round: 0.75, 0.75 and 1.2. Those of medians would say 6 / 5.
    assert rows["queue, 1 thread"]["of_feed_dict"] == [0.75, 0.75, pytest.approx(0.975)]
    assert rows["queue, 1 thread"]["of_no_input"] == [1.5, 1.5, 2.25]
    assert rows["queue, 1 thread"]["ms"] == [4.5, 6, 6]
    assert rows["queue, 1 thread"]["cpu_ms"] == 4
    assert rows["queue, 1 thread"]["busy"] == pytest.approx(4 / (6 * 2))
    assert rows["feed_dict"]["of_feed_dict"] == [1, 1, 1]
    assert found["read"] == {"ms": 1, "cpu_ms": 1}
    assert found["perfect_overlap_ms"] == {"1": 2, "2": 2, "4": 2}
    assert found["cpu_bound_ms"] == 2  # of (3 + 1) / 2, (6 + 2) / 2 and (3 + 1) / 2
    best = found["best_queue"]
    assert best["variant"] == "queue, 4 threads"
    assert best["of_feed_dict"][1] == 0.625
    assert best["of_cpu_bound"][1] == 1.25  # of 2.5 / 2, 5 / 4 and 5 / 2
    assert best["of_tf_data"][1] == 0.625  # of 1 thread, the faster: 2.5 / 4, 5 / 8, 5 / 4


def test_summary_without_tf_data():
    rounds = {name: turns for name, turns in ROUNDS.items() if not name.startswith("tf.data")}
    assert summary.summarize(rounds, cores=2)["best_queue"]["of_tf_data"] is None


def test_predictions():
    def series(kind, threads, wait_ms, ms):
        rounds = turns((ms, 1), (ms, 1))
        return {"kind": kind, "threads": threads, "value": wait_ms, "rounds": rounds}

    points = summary.sweep_points(
        [
            series("feed_dict", 1, 8, 13),
            series("queue", 1, 8, 10),
            series("queue", 4, 8, 3.5),
            series("read alone", 1, 8, 9.5),
            series("feed_dict", 1, 0, 4),
            series("queue", 1, 0, 3),
            series("queue", 4, 0, 3),
            series("read alone", 1, 0, 1),
        ]
    )
    predicted = {
        (point["kind"], point["threads"], point["value"]): summary.predicted_ms(point, points)
        for point in points
    }
    assert predicted["feed_dict", 1, 8] == 4 + 9.5 - 1
    assert predicted["queue", 1, 8] == 9.5
    assert predicted["queue", 4, 8] == 3  # 9.5 / 4 is less
    assert predicted["feed_dict", 1, 0] == 4
    assert predicted["queue", 1, 0] == 3
    assert predicted["read alone", 1, 8] is None


def test_points_of_another_setting_are_compared_round_by_round_and_not_predicted():
    figures = {"feed_dict": (4, 8, 4), "queue": (3, 6, 5), "no input": (2, 4, 2)}
    series = [
        {"kind": kind, "threads": 1, "value": 32, "rounds": turns(*((one, 1) for one in ms))}
        for kind, ms in figures.items()
    ]
    points = {point["kind"]: point for point in summary.sweep_points(series)}
    assert points["queue"]["of_feed_dict"] == [0.75, 0.75, 1.0]
    assert points["queue"]["ms"] == [4, 5, 5.5]
    assert summary.examples_per_second(points["no input"]) == 16000


# ------------------------------------------------------------------ the benchmark


def run(copy, name, *flags, **options):
    """Run a module of going_further. Returns: (exit status, stdout, stderr)."""
    command = copy.module(name, *flags)
    return copy.finish(copy.start(command, cwd=str(copy.folder), **options))


def settings(batch_size, read_latency_ms=0):
    """What a Variant takes from the flags."""
    fixed = {"capacity": 5, "latency_every": 1, "seed": 0}
    return SimpleNamespace(batch_size=batch_size, read_latency_ms=read_latency_ms, **fixed)


def test_a_turn_first_uses_up_what_was_read_before_it():
    coord = tf.train.Coordinator()
    with coord.stop_on_exception():
        variant = variants.Variant(settings(2, read_latency_ms=20), coord, variants.queue)
        time.sleep(0.5)  # the queue fills
        # A thread that sleeps for 20 ms can't read more often. What it read before would
        # make up for 6 of 10 steps.
        assert variant.turn(10)["ms"] > 18
    coord.request_stop()
    coord.join()


def losses_of(feed, steps, **options):
    """The losses of the first steps of a variant."""
    coord = tf.train.Coordinator()
    with coord.stop_on_exception():
        variant = variants.Variant(settings(128), coord, feed, **options)
        losses = [variant.step()[1] for _ in range(steps)]
    coord.request_stop()
    coord.join()
    return losses


def test_every_variant_trains_the_scripts_model():
    feeds = [variants.feed_dict, variants.queue, variants.queue_of_examples]
    feeds.append(variants.queue_of_examples_enqueued_alone)
    feeds += [variants.tf_data] if HAS_TF_DATA else []
    feeds += [variants.tf_data_on_all_cores] if variants.has_intra_op_option() else []
    expected, *others = (losses_of(feed, 60) for feed in feeds)
    assert max(expected[-10:]) < expected[0]
    for losses in others:  # the same batches, the same weights
        assert losses == pytest.approx(expected, rel=0.02, abs=0.01)
    for feed in [variants.tf_data_autotuned] if variants.has_autotune() else []:
        losses = losses_of(feed, 60)  # of batches in any order
        assert max(losses[-10:]) < losses[0]


STALL = ("--read_latency_ms", 30, "--latency_every", 10)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A copy in which the quick benchmark and short sweeps have run, and their stdout."""
    copy = Copy(tmp_path_factory.mktemp("quick"))
    outputs = {}
    shared = ("--steps", 8, "--capacity", 2)
    sweep = ("sweep", "--steps", 8, "--rounds", 2, "--over")
    for kind, command in {
        "benchmark": ("benchmark", *shared, "--quick"),
        "read_latency": (*sweep, "read_latency_ms", "--values", "20"),
        "batch_size": (*sweep, "batch_size", "--values", "64,16", "--capacity", 2),
        "capacity": (*sweep, "capacity", "--values", "1,20", *STALL),
    }.items():
        status, outputs[kind], stderr = run(copy, *command, "--json", kind + ".json")
        assert (status, stderr) == (0, "")
        outputs[kind + ".json"] = json.loads((copy.folder / (kind + ".json")).read_text())
    return copy, outputs


VARIANTS = [
    "feed_dict",
    "no input",
    "queue of examples, a read each",
    "queue of examples, a run each",
    "queue of examples, an enqueue each",
    "queue of examples, enqueue_many",
    "queue, 1 thread",
    "queue, 2 threads",
    "queue, 4 threads",
]
if HAS_MAKE_CALLABLE:
    VARIANTS += ["queue, 1 thread, make_callable", "queue, 4 threads, make_callable"]
if HAS_TF_DATA:
    VARIANTS += ["tf.data, 1 thread", "tf.data, 4 threads"]
if variants.has_autotune():
    VARIANTS += ["tf.data, AUTOTUNE"]
if variants.has_intra_op_option():
    VARIANTS += ["tf.data, 1 thread, all cores"]


def test_benchmark_keeps_every_round(quick):
    _, outputs = quick
    data = outputs["benchmark.json"]
    assert data["versions"]["tensorflow"] == tf.__version__
    assert data["machine"]["cores"] >= 1
    assert data["machine"]["cpu"]
    settings = {"rounds": 5, "steps": 8, "batch_size": 128, "capacity": 2, "seed": 0}
    assert data["settings"] == dict(settings, read_latency_ms=0, latency_every=1)
    assert sorted(data["rounds"]) == sorted([*VARIANTS, "read alone"])
    for variant in data["rounds"].values():
        assert len(variant) == 5
        assert all(0 < turn["ms"] < 10000 and 0 < turn["cpu_ms"] < 10000 for turn in variant)
    assert data["summary"] == summary.summarize(data["rounds"], data["machine"]["cores"])
    complete = HAS_MAKE_CALLABLE and variants.has_intra_op_option()
    assert (f"Left out: TensorFlow {tf.__version__} has no" in outputs["benchmark"]) != complete


def test_benchmark_s_table_is_what_the_rounds_say(quick):
    _, outputs = quick
    rounds, text = outputs["benchmark.json"]["rounds"], outputs["benchmark"]
    cores = outputs["benchmark.json"]["machine"]["cores"]
    for name in VARIANTS:
        cells = re.search(r"^{}  +(\S.*)$".format(re.escape(name)), text, re.M).group(1)
        ms = [turn["ms"] for turn in rounds[name]]
        low, high = np.percentile(ms, [25, 75])
        figures = ["{:.2f} ({:.2f}-{:.2f})".format(median(ms), low, high)]
        for reference in ("feed_dict", "no input"):
            if name != reference:
                ratios = [x / y["ms"] for x, y in zip(ms, rounds[reference])]
                low, high = np.percentile(ratios, [25, 75])
                figures.append("{:.2f} ({:.2f}-{:.2f})".format(median(ratios), low, high))
        cpu_ms = median(turn["cpu_ms"] for turn in rounds[name])
        figures.append("{:.2f}".format(cpu_ms))
        figures.append("{:.0f}%".format(100 * cpu_ms / median(ms) / cores))
        assert cells.split() == " ".join(figures).split()

    bounds = [
        (model["cpu_ms"] + read["cpu_ms"]) / cores
        for model, read in zip(rounds["no input"], rounds["read alone"])
    ]
    assert "{} cores: {:.2f} ms".format(cores, median(bounds)) in text
    model, read = (
        median(turn["ms"] for turn in rounds[name]) for name in ("no input", "read alone")
    )
    overlap = ["{:.2f}".format(max(model, read / threads)) for threads in (1, 2, 4)]
    assert "with 1, 2, 4 threads: {} ms".format(", ".join(overlap)) in text


def test_sweep(quick):
    _, outputs = quick
    data, text = outputs["read_latency.json"], outputs["read_latency"]
    assert len(data["series"]) == 2 * 4
    assert all(len(series["rounds"]) == 2 for series in data["series"])
    points = summary.sweep_points(data["series"])
    ms = {(point["kind"], point["threads"], point["value"]): point["ms"][1] for point in points}
    # A read that sleeps for 20 ms: not what a machine may be too slow for.
    assert ms["feed_dict", 1, 20] > 20
    assert ms["queue", 1, 20] > 19
    assert ms["read alone", 1, 20] > 20
    for point in points:
        line = r"^ *\+{:g} ms  {} +{:.2f} \(.*\)(.*)$".format(
            point["value"],
            summary.named(point["kind"], point["threads"]),
            point["ms"][1],
        )
        rest = re.search(line, text, re.M).group(1).split()
        predicted = summary.predicted_ms(point, points)
        if predicted:
            assert rest[0] == "{:.2f}".format(predicted)
            off = 100 * point["ms"][1] / predicted - 100
            assert abs(int(rest[1].rstrip("%")) - off) <= 0.5001


def ms_of(data):
    return {
        (one["kind"], one["threads"], one["value"]): [turn["ms"] for turn in one["rounds"]]
        for one in data["series"]
    }


def test_sweep_over_batch_sizes(quick):
    _, outputs = quick
    data, text = outputs["batch_size.json"], outputs["batch_size"]
    ms = ms_of(data)
    assert len(ms) == 2 * 3
    settings = {"over": "batch_size", "values": [16, 64], "rounds": 2, "steps": 8, "capacity": 2}
    assert data["settings"] == dict(settings, read_latency_ms=0, latency_every=1, seed=0)
    rows = re.findall(r"^ +(\d+) +([\d,]+) +([\d,]+) +([\d,]+) +(\S+) \(", text, re.M)
    assert [int(row[0]) for row in rows] == [16, 64]  # in order
    for size, *rates, ratio in rows:
        kinds = ("no input", "feed_dict", "queue")
        for kind, rate in zip(kinds, rates):
            expected = 1000 * int(size) / median(ms[kind, 1, int(size)])
            assert abs(int(rate.replace(",", "")) - expected) <= 0.5001
        pairs = zip(ms["queue", 1, int(size)], ms["feed_dict", 1, int(size)])
        assert float(ratio) == pytest.approx(median(a / b for a, b in pairs), abs=0.0051)


def test_sweep_over_capacities(quick):
    _, outputs = quick
    ms = ms_of(outputs["capacity.json"])
    assert sorted(ms) == [("queue", threads, n) for threads in (1, 4) for n in (1, 20)]
    rows = re.findall(r"^ +(\d+) +(\d+) ms +(\S+) \(\S+ +(\S+) \(", outputs["capacity"], re.M)
    assert [int(row[0]) for row in rows] == [1, 20]
    fastest = min(map(median, ms.values()))
    for capacity, lasts, *shown in rows:
        assert abs(int(lasts) - int(capacity) * fastest) <= 0.5001
        for threads, figure in zip((1, 4), shown):
            assert f"{median(ms['queue', threads, int(capacity)]):.2f}" == figure


# ------------------------------------------------------------------ 03 as it runs


def test_refills_are_what_03_prints(tmp_path_factory):
    copy = Copy(tmp_path_factory.mktemp("refills"))
    status, stdout, stderr = run(copy, "refills", "--dequeues", 12, "--json", "refills.json")
    assert (status, stderr) == (0, "")
    data = json.loads((copy.folder / "refills.json").read_text())
    happened = data["events"]
    assert [number for what, number in happened if what == "call"] == [1, 2, 3]
    assert [what for what, _ in happened].count("dequeue") == 12
    assert data["settings"] == {"capacity": 3, "refill": 6, "dequeues": 12, "seed": 0}
    rows = re.findall(r"^ +(\d+) +(\d) +(\d) +(\d)$", stdout, re.M)
    assert len(rows) == 12
    for dequeue, inside, waiting, calls in (map(int, row) for row in rows):
        assert inside + waiting + dequeue == 6 * calls  # none is lost
        assert inside <= 3


def test_refills_by_hand():
    printed = """Generated, call: [1][-0.5 10.1]
I tensorflow/core/kernels/logging_ops.cc:79] Dequeued, elements left: [-0.5][1]
Generated, call: [2][1 2]
Dequeued, elements left: [1e-05][0]"""
    happened = refills.events(printed)
    assert happened == [("call", 1), ("dequeue", 1), ("call", 2), ("dequeue", 0)]
    assert refills.states(happened, refill=2) == ([(1, 0), (0, 2)], [0, 1])


def test_03_that_fails_is_no_result(copy):
    (copy.folder / SCRIPTS["03"]).write_text("import sys\nsys.exit('the disk is on fire')\n")
    status, stdout, stderr = run(copy, "refills", "--json", "refills.json")
    assert (status, stdout) == (1, "")
    assert stderr.startswith("the disk is on fire\n")
    assert "ended with status 1" in stderr
    assert not (copy.folder / "refills.json").exists()


# ------------------------------------------------------------------ the trace


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A copy in which 01 and 04 have been traced, and stdout."""
    copy = Copy(tmp_path_factory.mktemp("traced"))
    flags = ("--read_latency_ms", 3, "--steps", 4, "--json", "trace.json")
    status, stdout, stderr = run(copy, "trace", *flags)
    assert (status, stderr) == (0, "")
    return copy, stdout


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


def test_trace(traced):
    copy, stdout = traced
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
        assert float(shown) == pytest.approx(overlap / 4000.0, abs=0.0051)
    assert len(spans_of(events, 1, "copying")) == 4
    assert spans_of(events, 2, "copying") == []
    assert not copy.timings.exists()  # such runs are not to be compared
    for pace in data["paces"].values():
        assert pace["usual_ms"] > 3  # each read sleeps for 3 ms, or the queue waits for it
        assert pace["recorded_ms"] > 3


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


# ------------------------------------------------------------------ the figures

BLUE, SKY, ORANGE, GREEN, GREY = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#BBBBBB"
PICTURES = {  # by file of results: the picture, and the colours it has
    "benchmark": ("variants", [BLUE, SKY, ORANGE, GREEN, GREY]),
    "read_latency": ("read_latency", [BLUE, SKY, ORANGE]),
    "batch_size": ("batch_size", [BLUE, ORANGE, GREY]),
    "trace": ("overlap", [BLUE, ORANGE, GREEN, GREY]),
    "trace_slow_disk": ("overlap_slow_disk", [BLUE, ORANGE, GREEN]),
    "refills": ("refills", [BLUE, ORANGE]),
    "versions": ("versions", [BLUE, ORANGE, GREEN, GREY]),
}


def pixels(path, colour):
    """How many pixels of a PNG have this colour."""
    from matplotlib import image

    rgb = [int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5)]
    return int(np.all(abs(image.imread(str(path))[:, :, :3] - rgb) < 0.01, axis=2).sum())


def test_figures_are_drawn_from_files(copy):
    for name in PICTURES:
        shutil.copy(str(MEASURED / (name + ".json")), str(copy.elsewhere))
    status, stdout, stderr = run(copy, "figures", "--dir", copy.elsewhere)
    assert (status, stderr) == (0, "")
    assert stdout.count("Wrote") == len(PICTURES)
    for name, colours in PICTURES.values():
        for folder in (copy.elsewhere, MEASURED):  # that in the repository too
            picture = folder / (name + ".png")
            assert picture.stat().st_size < 150000
            assert struct.unpack(">I", picture.read_bytes()[16:20]) == (1280,)
            for colour in colours:
                assert pixels(picture, colour) > 100
    assert len(list(copy.elsewhere.iterdir())) == 2 * len(PICTURES)


def test_figures_from_what_was_just_measured(quick, traced):
    copy = quick[0]
    shutil.copy(str(traced[0].folder / "trace.json"), str(copy.folder))
    (copy.folder / "capacity.json").rename(copy.folder / "of another name.json")
    status, stdout, stderr = run(copy, "figures", "--dir", ".")
    assert (status, stderr) == (0, "")
    assert stdout.count("Wrote") == 4
    assert stdout.count("for there is no") == 3


def damage(name):
    """Texts that are no result of this name, or no sound one."""
    text = (MEASURED / (name + ".json")).read_text()
    data = json.loads(text)
    other = "benchmark" if data["kind"] == "trace" else "trace"
    values = {
        "benchmark": "rounds",
        "trace": "traceEvents",
        "refills": "events",
        "versions": "releases",
    }.get(data["kind"], "series")
    changed = [dict(data, **{values: value}) for value in (None, [], {}, 7, [None], "x")]
    without = {key: value for key, value in data.items() if key != values}
    return [
        "",
        "not json",
        "[1, 2]",
        "[" * 100000,
        text[: len(text) // 2],
        json.dumps(dict(data, kind=other)),
        json.dumps(without),
        re.sub(r'(ms|dur|call|dequeue)"(:|,\s*) [\d.]+', r'\1"\2 "fast"', text),
        re.sub(r'"(ms|dur)": [\d.]+|"call"', r'"\1": NaN', text),
    ] + [json.dumps(change) for change in changed]


# In one process, as each of many would load matplotlib.
DRAW = """
import sys
from going_further.figures import __main__ as figures

for path in sys.argv[2:]:
    sys.argv[1:] = ["--dir", path]
    try:
        figures.main()
        print("DREW", path)
    except SystemExit as error:
        print("EXIT", error)
"""


def test_damaged_files_cost_one_line(copy):
    damaged = [(name, text) for name in sorted(PICTURES) for text in damage(name)]
    folders = []
    for number, (name, text) in enumerate(damaged):
        folders.append(copy.elsewhere / str(number))
        folders[-1].mkdir()
        (folders[-1] / (name + ".json")).write_text(text)
    status, stdout, stderr = copy.python(DRAW, "", *folders)
    assert (status, stderr) == (0, "")
    exits = re.findall(r"^EXIT (.*)$", stdout, re.M)
    assert len(exits) == len(damaged), stdout
    for folder, (name, text), line in zip(folders, damaged, exits):
        path = folder / (name + ".json")
        kind = json.loads((MEASURED / path.name).read_text())["kind"]
        assert line == f"{path} is damaged, or no result of kind {kind}: remove it."
        assert path.read_text() == text
        assert list(folder.iterdir()) == [path]


def test_no_files_to_draw(copy):
    status, stdout, _ = run(copy, "figures")
    assert status == 1
    lines = stdout.splitlines()
    assert "No overlap.png, for there is no results/trace.json: make trace makes it." in lines
    targets = set(re.findall(r": make (\w+) makes it\.$", stdout, re.M))
    assert targets == {"benchmark", "trace", "versions"}
    assert len(lines) == len(PICTURES)


def test_picture_that_cannot_be_written(copy):
    shutil.copy(str(MEASURED / "trace.json"), str(copy.elsewhere))
    (copy.elsewhere / "overlap.png").mkdir()
    status, _, stderr = run(copy, "figures", "--dir", copy.elsewhere)
    assert status == 1
    assert stderr == "{}/overlap.png is not written: Is a directory\n".format(copy.elsewhere)


def test_missing_matplotlib(copy):
    (copy.folder / "matplotlib.py").write_text(
        "raise ImportError(\"No module named 'matplotlib'\")"
    )
    status, stdout, stderr = run(copy, "figures", "--dir", MEASURED)
    assert (status, stdout) == (1, "")
    assert re.match(r"No module named 'matplotlib'. Type: .* -m pip install -r .*\n$", stderr)
    assert str(copy.folder / "going_further" / "requirements.txt") in stderr


# ------------------------------------------------------------------ what people do to scripts


def check_output(path, kind):
    results.check_output(command_line.Parser("A script."), str(path), kind)


def test_output_replaces_nothing_else(tmp_path, capsys):
    mine, sweep = tmp_path / "mine.json", tmp_path / "sweep.json"
    mine.write_text('{"kind": "mine"}')
    sweep.write_text('{"kind": "sweep"}')
    check_output(sweep, "sweep")
    check_output(tmp_path / "new.json", "sweep")
    for path in (mine, sweep, tmp_path, tmp_path / "nowhere" / "x.json", "/dev/full"):
        with pytest.raises(SystemExit) as end:
            check_output(path, "benchmark")
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert f"can't write to '{path}'" in error
        assert error.count("\n") == 1
    assert mine.read_text() == '{"kind": "mine"}'


def test_output_is_written_as_a_whole_or_not_at_all(tmp_path, capsys):
    path = tmp_path / "x.json"
    with pytest.raises(SystemExit, match="is not written: No space left"), results.written(
        str(path)
    ) as part:
        with open(part, "w") as file:
            file.write("{")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    path.mkdir()
    with pytest.raises(SystemExit, match="is not written: Is a directory"):
        results.save(str(path), {})
    assert list(tmp_path.iterdir()) == [path]
    assert capsys.readouterr().out == ""


BAD_FLAGS = [
    ("benchmark", ["--read_latency_ms", "0,1"]),
    ("sweep", ["--over", "threads"]),
    ("sweep", ["--values", "0,x"]),
    ("sweep", ["--capacity", "2", "--over", "capacity"]),
    ("refills", ["--capacity", "0"]),
    ("pairs", ["--releases", "0.9"]),
    ("pairs", ["--read_latency_ms", "x"]),
    ("benchmark", ["--rounds", "0"]),
    ("benchmark", ["--json", "/dev/full"]),
    ("trace", ["--read_latency_ms", "0,1"]),
    ("trace", ["--json", "/dev/full"]),
    ("figures", ["--seed", "1"]),  # it draws no numbers
    ("tf_data_training", ["--threads", "0"]),
]


@pytest.mark.parametrize("name, flags", BAD_FLAGS)
def test_bad_flags(copy, name, flags):
    (copy.folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    status, stdout, stderr = run(copy, name, *flags)
    assert (status, stdout) == (2, "")
    assert flags[1 if flags[0] == "--json" else 0] in stderr
    assert stderr.count("\n") == 1


QUICK = [  # typed, rounds and steps that follow
    ("", 40, 30),
    ("--quick", 5, 15),
    ("--quick --rounds 7", 7, 15),
    ("--steps 9 --quick", 5, 9),
]


@pytest.mark.parametrize("typed, rounds, steps", QUICK)
def test_quick_leaves_what_was_given(monkeypatch, typed, rounds, steps):
    monkeypatch.setattr(sys, "argv", ["benchmark", *typed.split()])
    flags = benchmark.parse_flags()
    assert (flags.rounds, flags.steps) == (rounds, steps)


MODULES = ["benchmark", "sweep", "trace", "refills", "pairs", "figures", "tf_data_training"]


@pytest.mark.parametrize("name", MODULES)
def test_help(copy, name):
    (copy.folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    status, stdout, stderr = run(copy, name, "--help")
    assert (status, stderr) == (0, "")
    assert "usage: " in stdout


def test_ctrl_c_leaves_nothing(copy):
    command = copy.module("benchmark", "--rounds", 10**6, "--json", "mine.json")
    process = copy.start(command, cwd=str(copy.folder))
    assert process.stdout.readline().startswith("TensorFlow")
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert status == -signal.SIGINT
    assert "Traceback" not in stderr
    assert not list(copy.folder.glob("mine*"))


def test_an_error_of_a_reader_ends_the_benchmark(copy):
    copy.append(
        "common.py",
        "\n_read_batch = read_batch\n\n"
        "def read_batch(batch_size, read_latency_ms=0, latency_every=1):\n"
        "    with tf.control_dependencies([tf.Assert(False, ['the disk is on fire'])]):\n"
        "        return tf.identity(_read_batch(batch_size))\n",
    )
    status, _, stderr = run(copy, "benchmark", "--quick")
    assert status == 1
    assert "the disk is on fire" in stderr


# ------------------------------------------------------------------ tf.data


def numbers(fail):
    """0 to 4 from a tf.data pipeline whose reader fails at the number `fail`."""

    def read(n):
        with tf.control_dependencies([tf.Assert(n < fail, ["the disk is on fire"])]):
            return tf.identity(n)

    with tf.Graph().as_default(), tf.Session() as sess:
        dataset = tf.data.Dataset.range(5).map(read, num_parallel_calls=4).prefetch(2)
        iterator = dataset.make_initializable_iterator()
        n = iterator.get_next()
        sess.run(iterator.initializer)
        while True:
            yield int(sess.run(n))


@pytest.mark.skipif(not HAS_TF_DATA, reason="this TensorFlow has no tf.data")
@pytest.mark.parametrize("fail, n, error", [(9, 5, "OutOfRange"), (3, 3, "InvalidArgument")])
def test_tf_data_ends_and_fails_as_the_readme_says(fail, n, error):
    read = numbers(fail)
    assert [next(read) for _ in range(n)] == list(range(n))
    with pytest.raises(getattr(tf.errors, error + "Error")):
        next(read)


# ------------------------------------------------------------------ what the README shows

README = (ROOT / "going_further" / "README.md").read_text()


EAGER = """
import tensorflow as tf

seen, calls = tf.Variable(0, dtype=tf.int64), []

def read(n):
    return tf.fill([2], n)

def train_step(x):
    calls.append(x)
    seen.assign_add(tf.reduce_sum(x))

"""


@pytest.mark.skipif(
    not hasattr(tf, "data") or not hasattr(tf.data, "AUTOTUNE"), reason="before 2.4"
)
def test_tensorflow_2_s_own_style(copy):
    (code,) = re.findall(r"^```python eager\n(.*?)```", README, re.M | re.S)
    (copy.folder / "eager.py").write_text(EAGER + code + "print(int(seen), len(calls))\n")
    command = [sys.executable, str(copy.folder / "eager.py")]
    status, stdout, stderr = copy.finish(copy.start(command))
    assert status == 0, stderr
    # Batches 0 to 99, three times; but Python called train_step only once, to build the graph.
    assert stdout.split() == [str(3 * 2 * sum(range(100))), "1"]


def test_epochs_start_by_running_the_initializer_again():
    if not HAS_TF_DATA:
        pytest.skip("this TensorFlow has no tf.data")
    with tf.Graph().as_default(), tf.Session() as sess:
        iterator = tf.data.Dataset.range(3).prefetch(2).make_initializable_iterator()
        n, seen = iterator.get_next(), []
        for _ in range(2):
            sess.run(iterator.initializer)
            with pytest.raises(tf.errors.OutOfRangeError):
                while True:
                    seen.append(int(sess.run(n)))
    assert seen == [0, 1, 2] * 2


@pytest.mark.parametrize("folder", ["going_further", "going_further/versions"])
def test_files_and_targets_of_the_readmes_exist(folder):
    page = (ROOT / folder / "README.md").read_text()
    for name in re.findall(r"\]\(([^):#]*)[^):]*\)", page):
        assert (ROOT / folder / name).exists(), name
    for target in re.findall(r"`make ([a-z]+)\b", page):
        assert re.search(r"^{}:".format(target), (ROOT / "Makefile").read_text(), re.M), target
    for name in re.findall(r"-m\s+going_further\.([\w.]+\w)", page):
        place = ROOT / "going_further" / name.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name
