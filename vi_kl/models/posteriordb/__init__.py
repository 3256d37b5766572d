"""posteriordb as targets: 26 real posteriors, with reference draws to compare an approximation with.

`posterior("garch11")` is one of them: its `target`, its reference `draws` (10,000, in the constrained space of the
model) and the same draws mapped to z. `names()` lists them. Models are the database's as they are written there:
predictors are not standardised and flat priors are flat, which is where most methods fail.

    file                what is in it
    regressions         earnings, children's test scores, mesquite bushes, elections, temperatures, a simulated one
    time_series         arK, arma11, garch11
    hierarchical        eight_schools_centered, eight_schools_noncentered
    hidden_markov       hmm_example
    mixture             low_dim_gauss_mix
    gaussian_process    gp_pois_regr

The data are not part of vi_kl: they are read from a copy of the database, in the folder that the environment
variable POSTERIORDB_PATH names.

To add a posterior, write its model and name it in the `PORTS` of one of these files; a new file goes into `KINDS`.

Reference: Magnusson et al. (2025), "posteriordb: Testing, benchmarking and developing Bayesian inference
algorithms", https://github.com/stan-dev/posteriordb.
"""

from vi_kl.models.posteriordb import (
    gaussian_process,
    hidden_markov,
    hierarchical,
    mixture,
    regressions,
    time_series,
)
from vi_kl.models.posteriordb.port import Posterior, PosteriordbModel, open_posterior

KINDS = (regressions, time_series, hierarchical, hidden_markov, mixture, gaussian_process)
PORTS: dict[str, PosteriordbModel] = {full_name: port for kind in KINDS for full_name, port in kind.PORTS.items()}
FULL_NAMES: dict[str, str] = {full_name.rpartition("-")[2]: full_name for full_name in PORTS}


def names() -> tuple[str, ...]:
    """Return the short names of all posteriors that are ported, in alphabetical order."""
    return tuple(sorted(FULL_NAMES, key=str.lower))


def posterior(name: str) -> Posterior:
    """Return a posterior of the database by its short name, such as "garch11".

    Raises:
        ValueError: there is no port of that name.
        FileNotFoundError: the environment variable POSTERIORDB_PATH does not name a copy of the database, or the
            copy does not have this posterior; the message says what to do.
    """
    if name not in FULL_NAMES:
        raise ValueError(f"No posterior {name!r}: choose one of {', '.join(names())}.")
    return open_posterior(FULL_NAMES[name], PORTS[FULL_NAMES[name]])


__all__ = ["PORTS", "Posterior", "PosteriordbModel", "names", "posterior"]
