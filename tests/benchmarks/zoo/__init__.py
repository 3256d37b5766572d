"""Models of the kinds that people fit, to measure what the default costs and how right it is beside NUTS.

    case.py         Case: a model with its data
    hierarchies.py, regressions.py, series.py, shapes.py    the twenty models of the zoo

Run it by `python -m tests.benchmarks.zoo`; see its `--help`.
"""

from . import hierarchies, regressions, series, shapes
from .case import named

ZOO = named(hierarchies.CASES, regressions.CASES, series.CASES, shapes.CASES)
ALL = ZOO
