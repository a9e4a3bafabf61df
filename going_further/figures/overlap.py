"""What 01 and 04 do when."""

from going_further.figures.style import BLUE, GREEN, GREY, LIGHT, ORANGE


def draw(figure, data):
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
