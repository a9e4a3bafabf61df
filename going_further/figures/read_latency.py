"""Slower and slower disks."""

from going_further.figures.style import BLUE, ORANGE, SKY
from going_further.summary import FEED_DICT, READ, named, predicted_ms, sweep_points


def draw(figure, data):
    """Lines: ms a step was to take with slower and slower disks; points: what it took.

    Args:
      figure: a matplotlib Figure.
      data: what sweep.py keeps, over read_latency_ms.
    """
    lines, all_points = {}, sweep_points(data["series"])
    for point in all_points:
        if point["kind"] != READ:
            lines.setdefault((point["kind"], point["threads"]), []).append(point)

    if not lines:
        raise ValueError("no points")
    figure.set_size_inches(8, 4)
    axes = figure.add_subplot(111)
    for (kind, threads), points in lines.items():
        colour = ORANGE if kind == FEED_DICT else BLUE if threads == 1 else SKY
        waits = [point["value"] for point in points]
        predicted = [predicted_ms(point, all_points) for point in points]
        low, ms, high = zip(*(point["ms"] for point in points))
        axes.plot(waits, predicted, color=colour)
        axes.vlines(waits, low, high, color=colour)
        axes.plot(waits, ms, "o", color=colour, clip_on=False)
        axes.annotate("   " + named(kind, threads), (waits[-1], ms[-1]), va="center")
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.set_xlabel("ms that each read waits, as for a slow disk")
    axes.set_ylabel("ms a step")
    axes.set_title(
        "A step with slower and slower disks: measured (points, quartiles) and predicted (lines)"
    )
