"""The bars: what a step takes with each way to feed the model."""

from going_further.figures.style import GREY, NO_LINE_BEHIND, colour
from going_further.summary import FLOOR, summarize


def draw(figure, data):
    """Bars: ms a step takes with each variant, beside the step without input.

    Args:
      figure: a matplotlib Figure.
      data: what benchmark.py keeps.
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
        axes.barh(y, ms - floor, left=floor, color=colour(name))
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
