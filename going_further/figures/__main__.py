"""Draw a picture of each file of results in a folder, beside it."""

import os
import sys

from going_further import results
from going_further.figures import batch_size, overlap, read_latency, refills, variants, versions
from going_further.figures.style import STYLE
from support.flags import Parser
from support.paths import ROOT

# The file without .json, the kind of result in it, what draws it, its picture, what makes it.
FIGURES = (
    ("benchmark", "benchmark", variants.draw, "variants.png", "make benchmark"),
    (
        "read_latency",
        "sweep over read_latency_ms",
        read_latency.draw,
        "read_latency.png",
        "make benchmark",
    ),
    ("batch_size", "sweep over batch_size", batch_size.draw, "batch_size.png", "make benchmark"),
    ("trace", "trace", overlap.draw, "overlap.png", "make trace"),
    ("trace_slow_disk", "trace", overlap.draw, "overlap_slow_disk.png", "make trace"),
    ("refills", "refills", refills.draw, "refills.png", "make trace"),
    ("versions", "versions", versions.draw, "versions.png", "make versions"),
)


def main():
    parser = Parser(__doc__)
    parser.prog = "going_further.figures"
    parser.add("--dir", default="results", metavar="DIR", help="the folder")
    flags = parser.parse()
    try:
        import matplotlib
    except ImportError as error:
        needs = os.path.join(ROOT, "going_further", "requirements.txt")
        sys.exit(f'{error}. Type: "{sys.executable}" -m pip install -r "{needs}"')
    from matplotlib.figure import Figure  # unlike pyplot's, it needs no display

    drawn = []
    for name, kind, draw, picture, command in FIGURES:
        path = os.path.join(flags.dir, name + ".json")
        if not os.path.exists(path):
            print(f"No {picture}, for there is no {path}: {command} makes it.")
            continue
        with matplotlib.rc_context(STYLE):
            figure = Figure(constrained_layout=True)
            with results.load(path, kind) as data:
                draw(figure, data)
            drawn.append(os.path.join(flags.dir, picture))
            with results.written(drawn[-1]) as part:
                figure.savefig(part, format="png", metadata={"Software": None})
    if not drawn:
        sys.exit(1)


if __name__ == "__main__":
    main()
