"""Draw a picture of each file of results in a folder, beside it."""

import os
import re
import sys
from statistics import median

from going_further import results
from going_further.benchmark import FEED_DICT, FLOOR, QUEUE, QUEUE_4, READ
from going_further.experiment import find, of_feed_dict, prediction, quartiles
from support.flags import Parser
from support.python import ROOT

# Colours that colour-blind readers can tell apart: Okabe and Ito, "Color Universal Design".
BLUE, SKY, ORANGE, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#009E73"
GREY, LIGHT = "#BBBBBB", "#E4E4E4"

NO_LINE_BEHIND = {"facecolor": "white", "linewidth": 0, "pad": 1}

STYLE = {
    "figure.facecolor": "white",  # on a dark page too
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
}


def colour(name):
    """The colour of a variant of this name."""
    kinds = (
        ("feed_dict", ORANGE),
        ("queue of examples", SKY),
        (QUEUE_4, SKY),
        ("queue", BLUE),
        ("tf.data", GREEN),
    )
    return next((one for kind, one in kinds if name.startswith(kind)), GREY)


# ------------------------------------------------------------------ what was timed

# Each takes a matplotlib Figure, and the result in a file.


def variants(figure, data):
    """Bars: ms a step takes with each way to feed the model, beside the step without input."""
    rows = [row for row in data["rows"] if row["variant"] != READ]
    rows.sort(key=lambda row: -median(row["ms"]))  # the fastest on top
    floor = median(find(rows, variant=FLOOR)["ms"])
    figure.set_size_inches(8, 0.36 * len(rows) + 1.2)
    axes = figure.add_subplot(111)
    for y, row in enumerate(rows):
        low, ms, high = quartiles(row["ms"])
        axes.barh(y, min(ms, floor), color=GREY)
        axes.barh(y, ms - floor, left=floor, color=colour(row["variant"]))
        axes.plot([low, high], [y, y], color="black", linewidth=1)
        ratio = of_feed_dict(rows, row)
        text = f"{ms:.2f}" + (f"  ({ratio[1]:.2f})" if ratio else "")
        axes.text(max(high, ms) + 0.04 * floor, y, text, va="center", bbox=NO_LINE_BEHIND)
    name, ms = prediction(rows, find(rows, variant=QUEUE), data["machine"])
    axes.axvline(ms, color="black", linestyle=":", linewidth=1)
    axes.text(ms, len(rows) - 0.4, f"predicted: {ms:.2f} ({name})", bbox=NO_LINE_BEHIND)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([row["variant"] for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("ms a step: medians, with the quartiles (in brackets: of feed_dict)")
    axes.set_xlim(0, 1.3 * max(quartiles(row["ms"])[2] for row in rows))
    axes.set_title("The model's step (grey), and what the input adds to it", pad=18)


def read_latency(figure, data):
    """Points: ms a step takes with slower and slower disks; lines: what the rule predicts."""
    rows = data["rows"]
    figure.set_size_inches(8, 4)
    axes = figure.add_subplot(111)
    for name in (FEED_DICT, QUEUE, QUEUE_4):
        of_name = [row for row in rows if row["variant"] == name]
        waits = [row["read_latency_ms"] for row in of_name]
        low, ms, high = zip(*(quartiles(row["ms"]) for row in of_name))
        predicted = [prediction(rows, row, data["machine"]) for row in of_name]
        # feed_dict is what the others are predicted from.
        axes.plot(
            waits, [one[1] for one in predicted] if all(predicted) else ms, color=colour(name)
        )
        axes.vlines(waits, low, high, color=colour(name))
        axes.plot(waits, ms, "o", color=colour(name), clip_on=False)
        axes.annotate("   " + name, (waits[-1], ms[-1]), va="center")
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.set_xlabel("ms that each read waits, as for a slow disk")
    axes.set_ylabel("ms a step")
    axes.set_title("A step with slower and slower disks: measured (points), predicted (lines)")


# ------------------------------------------------------------------ what happened when


def overlap(figure, data):
    """What 01 and 04 did when, with a lane for the input and one for training."""
    kinds = {
        "reading": (1, ORANGE),
        "copying": (1, GREEN),
        "waiting: queue full": (1, GREY),
        "waiting: queue empty": (2, LIGHT),
        "computing": (2, BLUE),
    }
    events = data["traceEvents"]
    scripts = [event for event in events if event["name"] == "process_name"]
    figure.set_size_inches(8, 4)
    axes = None
    for row, script in enumerate(scripts, 1):
        axes = figure.add_subplot(len(scripts), 1, row, sharex=axes)
        spans = [one for one in events if (one["pid"], one["ph"]) == (script["pid"], "X")]
        for what, (lane, shade) in kinds.items():
            ranges = [
                (span["ts"] / 1000, span["dur"] / 1000) for span in spans if span["name"] == what
            ]
            axes.broken_barh(ranges, (-lane - 0.4, 0.8), color=shade, linewidth=0, label=what)
        axes.set_yticks([-1, -2])
        axes.set_yticklabels(["input", "training"])
        axes.tick_params(axis="y", length=0)
        end = max(span["ts"] + span["dur"] for span in spans)
        name = script["args"]["name"]
        title = f"{name}: {data['settings']['steps']} steps in {end / 1000:.1f} ms"
        pace = data["paces"][name]
        slower = pace["recorded_ms"] / pace["usual_ms"] - 1
        if slower > 0.1:
            title += f" (to record them slows a step by {slower:.0%})"
        axes.set_title(title)
    axes.set_xlim(0)
    axes.set_xlabel("ms from the end of a step")
    legend = {"loc": "upper left", "bbox_to_anchor": (0, -0.35), "ncol": len(kinds)}
    axes.legend(frameon=False, columnspacing=1.2, handlelength=1, **legend)


def refills(figure, printed):
    """Bars: where the elements of 03 were after each dequeue, from what it printed."""
    pattern = r"Generated, call: \[(\d+)\]|Dequeued, elements left: \[\S+\]\[(\d+)\]"
    numbers = r"the queue holds (\d+), a refill brings (\d+)"
    capacity, refill = map(int, re.search(numbers, printed).groups())
    printed = printed[re.search(numbers, printed).start() :]  # 02 has dequeued before
    calls, inside, waiting, called_after = 0, [], [], []
    for call, left in re.findall(pattern, printed):
        if call:
            calls = int(call)
            called_after.append(len(inside))
        else:
            inside.append(int(left))
            waiting.append(calls * refill - len(inside) - int(left))
    at = range(1, len(inside) + 1)
    figure.set_size_inches(8, 3.6)
    axes = figure.add_subplot(111)
    axes.bar(at, inside, color=BLUE, label="in the queue")
    axes.bar(at, waiting, bottom=inside, color=LIGHT, label="wait in the enqueue, for a place")
    axes.axhline(capacity, color="black", linestyle=":", linewidth=1)
    axes.text(len(inside) + 0.6, capacity + 0.1, f"capacity {capacity}")
    top = capacity + refill + 0.6
    for number, after in enumerate(called_after, 1):
        axes.axvline(after + 0.5, color=ORANGE, linewidth=2)
        text = f" call {number}" + (f": {refill} elements" if number == 1 else "")
        axes.text(after + 0.5, top, text, va="top", bbox={"facecolor": "white", "linewidth": 0})
    axes.set_ylim(0, top)
    axes.set_xlim(0.4, len(inside) + 1.8)
    axes.set_xticks(at)
    axes.set_yticks(range(0, capacity + refill + 1, capacity))
    axes.set_xlabel("dequeue")
    axes.set_ylabel("elements")
    axes.set_title(f"Elements after each dequeue of 03, and the {calls} calls of the generator")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2), ncol=2)


# ------------------------------------------------------------------ the files

# The file, the kind of result in it (None: what scripts printed), what draws it, the picture.
FIGURES = (
    ("benchmark.json", "a benchmark of variants", variants, "variants.png"),
    ("read_latency.json", "a benchmark over read_latency_ms", read_latency, "read_latency.png"),
    ("trace.json", "a trace", overlap, "overlap.png"),
    ("trace_slow_disk.json", "a trace", overlap, "overlap_slow_disk.png"),
    ("run.txt", None, refills, "refills.png"),
)


def read(path, kind):
    """What FIGURES tell to draw from a file."""
    if kind:
        return results.load(path, kind)
    with open(path) as file:
        return file.read()


def main():
    parser = Parser(__doc__)
    parser.add("--dir", default="results", metavar="DIR", help="the folder")
    flags = parser.parse()
    try:
        import matplotlib
    except ImportError as error:
        needs = os.path.join(ROOT, "going_further", "requirements.txt")
        sys.exit(f'{error}. Type: "{sys.executable}" -m pip install -r "{needs}"')
    from matplotlib.figure import Figure  # unlike pyplot's, it needs no display

    drawn = []
    for name, kind, draw, picture in FIGURES:
        path = os.path.join(flags.dir, name)
        if not os.path.exists(path):
            continue
        with matplotlib.rc_context(STYLE):
            figure = Figure(constrained_layout=True)
            draw(figure, read(path, kind))
            drawn.append(os.path.join(flags.dir, picture))
            with results.written(drawn[-1]) as part:
                figure.savefig(part, format="png", metadata={"Software": None})
    if not drawn:
        names = ", ".join(name for name, *_ in FIGURES)
        sys.exit(f"There is nothing to draw in {flags.dir}: none of {names}. See make benchmark.")


if __name__ == "__main__":
    main()
