"""What the runs of 01 and 04 so far have shown: python -m support."""

from support.flags import parse_flags
from support.report import conclude

conclude(parse_flags(__doc__, "timings").timings)
