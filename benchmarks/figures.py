"""Draws a figure of each result in a folder that has one, and saves it there."""

import io
import os
import sys

from matplotlib.figure import Figure  # unlike pyplot's, it needs no display

from benchmarks import storage
from benchmarks.harness import predicted_ms, quartiles
from support.flags import Parser

# Colors that color-blind readers can tell apart: Okabe and Ito, "Color Universal Design".
BLUE, SKY, ORANGE, GREEN, GRAY = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#BBBBBB"


def read_latency(figure, data):
    """Draw step times by latency: measured points, predicted lines."""
    rows, axes = data["rows"], figure.add_subplot(111)
    colors = {"feed_dict": ORANGE, "queue, 1 thread": BLUE, "queue, 4 threads": SKY}
    for name, color in colors.items():
        of_name = [row for row in rows if row["variant"] == name]
        latencies = [row["read_latency_ms"] for row in of_name]
        low, ms, high = zip(*(quartiles(row["ms"]) for row in of_name))
        predicted = [predicted_ms(rows, row, data["machine"]) for row in of_name]
        axes.plot(latencies, predicted if all(predicted) else ms, color=color)
        axes.vlines(latencies, low, high, color=color)
        axes.plot(latencies, ms, "o", color=color, clip_on=False)
        axes.annotate("   " + name, (latencies[-1], ms[-1]), va="center")
    axes.set(xlim=(0, None), ylim=(0, None), xlabel="Read latency (ms)", ylabel="Step time (ms)")
    axes.spines["right"].set_visible(False)  # the names are there
    title = "A queue hides latency until a read takes longer than a step"
    axes.set_title(
        title + "\n(points: measured; lines of the queue: predicted)", loc="left", fontsize=11
    )


COLORS = {
    "computing": BLUE,
    "reading": ORANGE,
    "between two sess.run() calls": GREEN,
    "blocked by the queue": GRAY,
}
TITLES = {
    "01_feed_dict_baseline.py": "01, feed_dict: reading and computing take turns",
    "04_queue_pipeline_training.py": "04, queue: a background thread reads during computing",
}


def overlap(figure, data):
    """Draw what each script did when, with a lane for the input and one for training."""
    axes = None
    for number, (script, title) in enumerate(TITLES.items(), 1):
        axes = figure.add_subplot(len(TITLES), 1, number, sharex=axes)
        spans = [span[1:] for span in data["spans"] if span[0] == script]
        for kind, color in COLORS.items():
            chosen = [span for span in spans if span[1] == kind]
            if chosen:
                lanes, starts = [span[0] for span in chosen], [span[2] / 1000 for span in chosen]
                ms = [(end - start) / 1000 for _, _, start, end in chosen]
                axes.barh(lanes, ms, left=starts, color=color, linewidth=0, label=kind)
        total = max(span[3] for span in spans) / 1000
        time = f"{data['settings']['steps']} steps in {total:.1f} ms"
        axes.set_title(f"{title} ({time})", loc="left", fontsize=11)
    axes.set(xlim=(0, None), xlabel="Time (ms)")
    place = {"loc": "upper left", "bbox_to_anchor": (0, -0.35), "ncol": len(COLORS)}
    axes.legend(frameon=False, columnspacing=1.2, handlelength=1, **place)


# What draws each file of results.
FIGURES = {"read_latency": read_latency, "overlap": overlap, "overlap_slow_disk": overlap}


def main():
    parser = Parser(__doc__)
    parser.add("--dir", default="results", metavar="DIR", help="folder of the results")
    folder = parser.parse().dir
    found = [name for name in FIGURES if os.path.exists(os.path.join(folder, name + ".json"))]
    if not found:
        sys.exit(f"{folder} has no results to draw. First run make benchmark or make trace.")
    for name in found:
        png, figure = io.BytesIO(), Figure(figsize=(8, 4), constrained_layout=True)
        FIGURES[name](figure, storage.load(os.path.join(folder, name + ".json")))
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
        storage.write(os.path.join(folder, name + ".png"), png.getvalue())


if __name__ == "__main__":
    main()
