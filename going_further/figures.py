"""Draw variants.png, sweep.png, overlap.png and versions.png from what was measured.

Each is drawn from a file in the same folder: benchmark.json, sweep.json, trace.json, versions.json.
"""

import os
import sys

from going_further import files
from going_further.summary import FLOOR, named, summarize, sweep_points
from going_further.versions.table import SHOWN
from going_further.versions.table import summarize as summarize_versions
from support.flags import Parser
from support.paths import ROOT

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


# ------------------------------------------------------------------ the bars


def draw_variants(figure, data):
    """Bars: ms a step takes with each variant, beside the step without input.

    Args:
      figure: a matplotlib Figure.
      data: what benchmark.py keeps of kind "benchmark".
    """
    summary = summarize(data["rounds"], data["machine"]["cores"])
    rows = summary["variants"]
    names = sorted(rows, key=lambda name: -rows[name]["of_feed_dict"][1])  # the fastest on top
    floor = rows[FLOOR]["ms"][1]

    figure.set_size_inches(8, 0.36 * len(names) + 1.2)
    axes = figure.add_subplot(111)
    for y, name in enumerate(names):
        low, ms, high = rows[name]["ms"]
        axes.barh(y, min(ms, floor), color=GREY)
        axes.barh(y, ms - floor, left=floor, color=_colour(name))
        axes.plot([low, high], [y, y], color="black", linewidth=1)
        text = f"{ms:.2f}  ({rows[name]['of_feed_dict'][1]:.2f})"
        axes.text(max(high, ms) + 0.04 * floor, y, text, va="center", bbox=NO_LINE_BEHIND)
    bound = summary["cpu_bound_ms"]
    axes.axvline(bound, color="black", linestyle=":", linewidth=1)
    axes.text(bound, len(names) - 0.4, f"bound by the CPU: {bound:.2f}", bbox=NO_LINE_BEHIND)
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels(names)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("ms a step: medians, with the quartiles (in brackets: of feed_dict)")
    axes.set_xlim(0, 1.3 * max(row["ms"][2] for row in rows.values()))
    axes.set_title("The model's step (grey), and what the input adds to it", pad=18)


def _colour(name):
    kinds = (("feed_dict", ORANGE), ("queue of examples", SKY), ("queue", BLUE), ("tf.data", GREEN))
    return next((colour for kind, colour in kinds if name.startswith(kind)), GREY)


# ------------------------------------------------------------------ the sweep


def draw_sweep(figure, data):
    """Lines: ms a step was to take with slower and slower disks; points: what it took.

    Args:
      figure: a matplotlib Figure.
      data: what benchmark.py keeps of kind "sweep".
    """
    lines = {}
    for point in sweep_points(data["series"]):
        if "predicted_ms" in point:
            lines.setdefault((point["kind"], point["threads"]), []).append(point)

    if not lines:
        raise ValueError("no points")
    figure.set_size_inches(8, 4)
    axes = figure.add_subplot(111)
    for (kind, threads), points in lines.items():
        colour = ORANGE if kind == "feed_dict" else BLUE if threads == 1 else SKY
        waits = [point["read_latency_ms"] for point in points]
        predicted = [point["predicted_ms"] for point in points]
        low, ms, high = zip(*(point["ms"] for point in points))
        axes.plot(waits, predicted, color=colour)
        axes.vlines(waits, low, high, color=colour)
        axes.plot(waits, ms, "o", color=colour, clip_on=False)
        axes.annotate("   " + named(kind, threads), (waits[-1], ms[-1]), va="center")
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.set_xlabel("ms that each read waits, as for a slow disk")
    axes.set_ylabel("ms a step")
    axes.set_title("Measured (points; bars: quartiles) and predicted (lines)")


# ------------------------------------------------------------------ the TensorFlows


def draw_versions(figure, data):
    """Lines: ms a step takes from one TensorFlow to the next, and below, the queue's share.

    Args:
      figure: a matplotlib Figure.
      data: what `python -m going_further.versions` keeps.
    """
    rows = summarize_versions(data["releases"])
    figure.set_size_inches(8, 5)
    ms, ratio = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    for name in SHOWN:
        at = [x for x, row in enumerate(rows) if name in row["ms"]]
        _line(ms, at, [rows[x]["ms"][name] for x in at], _colour(name), name)
    ms.set_ylim(0)
    ms.set_ylabel("ms a step")
    ms.set_title("The faster the model's step (grey), the more its input matters")
    ms.legend(frameon=False)
    _line(ratio, range(len(rows)), [row["of_feed_dict"] for row in rows], BLUE)
    ratio.axhline(1, color="black", linestyle=":", linewidth=1)
    ratio.set_ylabel("queue / feed_dict")
    ratio.set_xticks(range(len(rows)))
    ratio.set_xticklabels([row["tensorflow"] for row in rows])
    ratio.set_xlabel("TensorFlow (medians, with the quartiles)")


def _line(axes, at, quartiles, colour, label=None):
    low, median, high = zip(*quartiles)
    axes.plot(at, median, "o-", markersize=5, color=colour, label=label)
    axes.vlines(at, low, high, color=colour)


# ------------------------------------------------------------------ the overlap


def draw_overlap(figure, data):
    """What each script does when, with a lane for the input and one for training.

    Args:
      figure: a matplotlib Figure.
      data: what trace.py keeps.
    """
    kinds = {
        "reading": (1, ORANGE),
        "copying": (1, GREEN),
        "waiting: queue full": (1, GREY),
        "waiting: queue empty": (2, LIGHT),
        "computing": (2, BLUE),
    }
    scripts = [event for event in data["traceEvents"] if event["name"] == "process_name"]
    figure.set_size_inches(8, 4)
    axes = None
    for row, script in enumerate(scripts, 1):
        axes = figure.add_subplot(len(scripts), 1, row, sharex=axes)
        spans = [
            event
            for event in data["traceEvents"]
            if event["pid"] == script["pid"] and event["ph"] == "X"
        ]
        if not all(span["ts"] >= 0 and span["dur"] > 0 for span in spans):
            raise ValueError("no times")
        for what, (lane, colour) in kinds.items():
            ranges = [
                (span["ts"] / 1000, span["dur"] / 1000) for span in spans if span["name"] == what
            ]
            axes.broken_barh(ranges, (-lane - 0.4, 0.8), color=colour, linewidth=0, label=what)
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


# ------------------------------------------------------------------ the command line

FIGURES = (
    ("benchmark", draw_variants, "variants.png", "make benchmark"),
    ("sweep", draw_sweep, "sweep.png", "make benchmark"),
    ("trace", draw_overlap, "overlap.png", "make trace"),
    ("versions", draw_versions, "versions.png", "make versions"),
)


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
    for kind, draw, name, command in FIGURES:
        path = os.path.join(flags.dir, kind + ".json")
        if not os.path.exists(path):
            print(f"No {name}, for there is no {path}: {command} makes it.")
            continue
        with matplotlib.rc_context(STYLE):
            figure = Figure(constrained_layout=True)
            with files.load(path, kind) as data:
                draw(figure, data)
            drawn.append(os.path.join(flags.dir, name))
            with files.written(drawn[-1]) as part:
                figure.savefig(part, format="png", metadata={"Software": None})
    if not drawn:
        sys.exit(1)


if __name__ == "__main__":
    main()
