"""From one TensorFlow to the next."""

from going_further.figures.style import BLUE, colour, line
from going_further.versions.table import SHOWN, summarize


def draw(figure, data):
    """Lines: ms a step takes from one TensorFlow to the next, and below, the queue's share.

    Args:
      figure: a matplotlib Figure.
      data: what `python -m going_further.versions` keeps.
    """
    rows = summarize(data["releases"])
    figure.set_size_inches(8, 5)
    ms, ratio = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    for name in SHOWN:
        at = [x for x, row in enumerate(rows) if name in row["ms"]]
        line(ms, at, [rows[x]["ms"][name] for x in at], colour(name), name)
    ms.set_ylim(0)
    ms.set_ylabel("ms a step")
    ms.set_title("A step on each TensorFlow; the input is what lies above the grey line")
    ms.legend(frameon=False)
    line(ratio, range(len(rows)), [row["of_feed_dict"] for row in rows], BLUE)
    ratio.axhline(1, color="black", linestyle=":", linewidth=1)
    ratio.set_ylabel("time: queue / feed_dict")
    ratio.set_xticks(range(len(rows)))
    ratio.set_xticklabels([row["tensorflow"] for row in rows])
    ratio.set_xlabel("TensorFlow (medians, with the quartiles)")
