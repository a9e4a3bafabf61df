"""How figures are spread."""

import numpy as np


def quartiles(figures):
    """[lower quartile, median, upper quartile].

    Raises: ValueError if there is no figure, or one that nobody can have measured.
    """
    return _percentiles(figures, [25, 50, 75])


def extremes(figures):
    """[lowest, median, highest]. Raises as quartiles() does."""
    return _percentiles(figures, [0, 50, 100])


def _percentiles(figures, which):
    if not figures or not all(0 <= figure < float("inf") for figure in figures):
        raise ValueError("needs figures of 0 or more")
    return [float(value) for value in np.percentile(figures, which)]


def in_words(values, digits=2):
    """As text, "median (lower-upper)": quartiles or extremes, so many digits after the point."""
    low, median, high = values
    return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
