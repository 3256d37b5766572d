"""The target: an unnormalised posterior over a flat unconstrained vector z.

`Target.from_numpyro(model, *args, **kwargs)` makes one from a NumPyro model and its data;
`Target.from_log_density(function, dim)` from any log density that JAX can trace, over z itself or, with a tree of
examples in place of `dim`, over named parameters with supports (`Positive(1.0)`, `Simplex([...])`, ...);
`Target.from_pymc(model)` from a PyMC model (`pip install "vi_kl[pymc]"`);
`Target.from_stan(program, data)` from a Stan program (`pip install "vi_kl[stan]"`).
Every source of models fulfils one contract, `Density`, and says by name what more it offers (`CAPABILITIES`).
A source of rows (`ArrayRows`, `ParquetRows`), as `rows=`, gives data that do not fit into memory a piece at a time.
`vi_kl.targets.file` reads models and their data from files, as the command line does.
What is known about a target (its evidence, draws of the posterior) is a `ReferencePosterior`, from `vi_kl.reference`.
"""

from vi_kl.targets.density import CAPABILITIES, Density
from vi_kl.targets.parameters import (
    CorrCholesky,
    GreaterThan,
    Interval,
    LessThan,
    Ordered,
    Parameter,
    Positive,
    Simplex,
    UnitInterval,
)
from vi_kl.targets.processes import RowsOfEachProcess
from vi_kl.targets.row_sources import ArrayRows, ParquetRows, RowSource
from vi_kl.targets.target import Target

__all__ = [
    "CAPABILITIES",
    "ArrayRows",
    "CorrCholesky",
    "Density",
    "GreaterThan",
    "Interval",
    "LessThan",
    "Ordered",
    "Parameter",
    "ParquetRows",
    "Positive",
    "RowSource",
    "RowsOfEachProcess",
    "Simplex",
    "Target",
    "UnitInterval",
]
