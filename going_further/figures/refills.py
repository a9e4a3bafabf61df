"""Where the elements of 03 were."""

from going_further.figures.style import BLUE, LIGHT, ORANGE
from going_further.refills import states


def draw(figure, data):
    """Bars: the elements in the queue after each dequeue, and above, those that wait to get in.

    Args:
      figure: a matplotlib Figure.
      data: what refills.py keeps.
    """
    refill, capacity = data["settings"]["refill"], data["settings"]["capacity"]
    found, called_after = states(data["events"], refill)
    inside, waiting = zip(*found)
    at = range(1, len(found) + 1)
    figure.set_size_inches(8, 3.6)
    axes = figure.add_subplot(111)
    axes.bar(at, inside, color=BLUE, label="in the queue")
    axes.bar(at, waiting, bottom=inside, color=LIGHT, label="wait in the enqueue, for a place")
    axes.axhline(capacity, color="black", linestyle=":", linewidth=1)
    axes.text(len(found) + 0.6, capacity + 0.1, f"capacity {capacity}")
    top = capacity + refill + 0.6
    for number, after in enumerate(called_after, 1):
        axes.axvline(after + 0.5, color=ORANGE, linewidth=2)
        text = f" call {number}" + (f": {refill} elements" if number == 1 else "")
        axes.text(after + 0.5, top, text, va="top", bbox={"facecolor": "white", "linewidth": 0})
    axes.set_ylim(0, top)
    axes.set_xlim(0.4, len(found) + 1.8)
    axes.set_xticks(at)
    axes.set_yticks(range(0, capacity + refill + 1, capacity))
    axes.set_xlabel("dequeue")
    axes.set_ylabel("elements")
    axes.set_title(
        f"Elements after each dequeue of 03, and the {len(called_after)} calls of the generator"
    )
    legend = {"loc": "upper left", "bbox_to_anchor": (0, -0.2), "ncol": 2}
    axes.legend(frameon=False, **legend)
