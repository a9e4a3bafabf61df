"""Larger and larger batches."""

from going_further.figures.style import BLUE, colour, line
from going_further.summary import FEED_DICT, FLOOR, sweep_points


def draw(figure, data):
    """Lines: examples a second with larger and larger batches, and below, the queue's share.

    Args:
      figure: a matplotlib Figure.
      data: what sweep.py keeps, over batch_size.
    """
    points = sweep_points(data["series"])
    sizes = sorted({point["value"] for point in points})
    figure.set_size_inches(8, 4.4)
    rate, ratio = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    for kind in (FLOOR, "queue", FEED_DICT):
        rates = [
            [1000 * point["value"] / ms for ms in reversed(point["ms"])]
            for point in points
            if point["kind"] == kind
        ]
        line(rate, range(len(sizes)), rates, colour(kind), kind)
    rate.set_ylim(0)
    rate.set_ylabel("examples a second")
    rate.yaxis.set_major_formatter("{x:,.0f}")
    rate.set_title("Examples trained in a second, and what the queue saves, with larger batches")
    rate.legend(frameon=False)
    ratios = [point["of_feed_dict"] for point in points if point["kind"] == "queue"]
    line(ratio, range(len(sizes)), ratios, BLUE)
    ratio.axhline(1, color="black", linestyle=":", linewidth=1)
    ratio.set_ylabel("time: queue / feed_dict")
    ratio.set_xticks(range(len(sizes)))
    ratio.set_xticklabels(sizes)
    ratio.set_xlabel("batch_size (medians, with the quartiles)")
