"""How figures are spread."""

import numpy as np


def quartiles(figures):
    """[lower quartile, median, upper quartile].

    Raises: ValueError if there is no figure, or one that nobody can have measured.
    """
    if not figures or not all(0 <= figure < float("inf") for figure in figures):
        raise ValueError("needs figures of 0 or more")
    return [float(value) for value in np.percentile(figures, [25, 50, 75])]


def in_words(values, digits=2):
    """Quartiles as text, "median (lower-upper)", with so many digits after the point."""
    low, median, high = values
    return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
