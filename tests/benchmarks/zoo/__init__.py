"""Models of the kinds that people fit, to measure what the default costs and how right it is beside NUTS.

    case.py         Case: a model with its data
    hierarchies.py, regressions.py, series.py, shapes.py    the twenty models of the zoo
    large.py        thousands of groups, a million rows: the default beside NumPyro's AutoNormal
    measure.py, nuts.py, peers.py    one row: a fit with its certificate, a run of NUTS, an autoguide
    runner.py, rows.py, page.py      many rows, each in a process of its own; their table; the page in docs/

Run it by `PYTHONPATH=tests python -m benchmarks.zoo`; see its `--help`.
"""

from . import hierarchies, large, regressions, series, shapes
from .case import named

ZOO = named(hierarchies.CASES, regressions.CASES, series.CASES, shapes.CASES)
LARGE = named(large.CASES)
ALL = ZOO | LARGE
