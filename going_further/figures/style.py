"""How the pictures look, and what they have in common."""

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
    kinds = (("feed_dict", ORANGE), ("queue of examples", SKY), ("queue", BLUE), ("tf.data", GREEN))
    return next((one for kind, one in kinds if name.startswith(kind)), GREY)


def line(axes, at, quartiles, colour, label=None):
    """Draw medians, joined by a line, and their quartiles.

    Args:
      axes: matplotlib's.
      at: x of each.
      quartiles: [lower, median, upper] of each.
      colour, label: of the line.
    """
    low, median, high = zip(*quartiles)
    axes.plot(at, median, "o-", markersize=5, color=colour, label=label)
    axes.vlines(at, low, high, color=colour)
