"""The catalogue: every model of this part by name, its dimension, and what is hard about it.

It is read without JAX; `make_target(name)` imports what it needs. Those of posteriordb read their data from the copy of
the database that the environment variable POSTERIORDB_PATH names.
"""

import dataclasses
import difflib
import importlib
from typing import TYPE_CHECKING

from vi_kl.core.errors import ViKLError

if TYPE_CHECKING:
    from vi_kl.targets import Target


class NoSuchModel(ViKLError, ValueError):
    """An error: the catalogue has no model of that name; the message has similar ones."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model of the catalogue.

    Attributes:
        name: its name.
        source: the part that it belongs to: "conjugate", "textbook" or "posteriordb".
        dim: the length of z.
        hard: what is hard about its posterior.
    """

    name: str
    source: str
    dim: int
    hard: str


ENTRIES = (
    Entry("beta_binomial", "conjugate", 1, "nothing but skewness: the evidence is known exactly"),
    Entry("gamma_poisson", "conjugate", 1, "nothing but skewness: the evidence is known exactly"),
    Entry("dirichlet_multinomial", "conjugate", 3, "a simplex; known exactly"),
    Entry("dirichlet_categorical", "conjugate", 2, "a simplex; known exactly"),
    Entry("normal_normal", "conjugate", 1, "nothing: the posterior is normal"),
    Entry("linear_regression_known_noise", "conjugate", 3, "correlation alone: the posterior is normal"),
    Entry("linear_regression", "conjugate", 4, "coefficients that depend on the noise; known exactly"),
    Entry("local_level", "conjugate", 15, "a path whose neighbours are correlated; normal"),
    Entry("autoregression_plus_noise", "conjugate", 15, "a path whose neighbours are correlated; normal"),
    Entry("eight_schools_centred", "textbook", 10, "a funnel: the scale of the effects sets their spread"),
    Entry("eight_schools_noncentred", "textbook", 10, "skewness in the scale of the effects only"),
    Entry("logistic_regression", "textbook", 4, "little: nearly normal"),
    Entry("arK", "posteriordb", 7, "correlated coefficients"),
    Entry("arma11", "posteriordb", 4, "a likelihood by recursion"),
    Entry("blr", "posteriordb", 6, "little: nearly normal"),
    Entry("earn_height", "posteriordb", 3, "predictors far from zero, flat priors: extreme scales and correlation"),
    Entry("garch11", "posteriordb", 4, "bounded parameters, one of which bounds another"),
    Entry("gp_pois_regr", "posteriordb", 13, "a Gaussian process whose length scale is unknown"),
    Entry("hmm_example", "posteriordb", 4, "two states, summed out by recursion"),
    Entry("kidscore_interaction", "posteriordb", 5, "an interaction not centred: strong correlation"),
    Entry("kidscore_interaction_c", "posteriordb", 5, "little: the predictors are centred"),
    Entry("kidscore_mom_work", "posteriordb", 5, "correlated coefficients"),
    Entry("kidscore_momhs", "posteriordb", 3, "correlated coefficients"),
    Entry("kidscore_momhsiq", "posteriordb", 4, "predictors of different scales, correlation"),
    Entry("kidscore_momiq", "posteriordb", 3, "a predictor far from zero: strong correlation"),
    Entry("kilpisjarvi", "posteriordb", 3, "years as they come: extreme correlation"),
    Entry("logearn_height", "posteriordb", 3, "a predictor far from zero: strong correlation"),
    Entry("logearn_height_male", "posteriordb", 4, "a predictor far from zero: strong correlation"),
    Entry("logearn_interaction", "posteriordb", 5, "an interaction not centred: strong correlation"),
    Entry("logearn_logheight_male", "posteriordb", 4, "a predictor far from zero: strong correlation"),
    Entry("logmesquite", "posteriordb", 8, "correlated predictors, few rows"),
    Entry("logmesquite_logva", "posteriordb", 5, "correlated predictors, few rows"),
    Entry("logmesquite_logvas", "posteriordb", 8, "strongly correlated predictors, few rows"),
    Entry("low_dim_gauss_mix", "posteriordb", 5, "a mixture, its means ordered"),
    Entry("mesquite", "posteriordb", 8, "predictors of different scales, few rows"),
    Entry("nes", "posteriordb", 10, "correlated coefficients"),
)
CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}


def named(name: str) -> str | None:
    """Return the name in the catalogue that is meant, in either spelling of "centred"; None if there is none."""
    plain = name.strip().lower().replace("-", "_").replace("centered", "centred")
    return next((known for known in CATALOGUE if known.lower() == plain), None)


def make_target(name: str) -> "Target":
    """Make the target of a model of the catalogue, with its own data.

    Raises:
        NoSuchModel: there is none of that name.
        FileNotFoundError: it is one of posteriordb's, and POSTERIORDB_PATH does not name a copy of the database.
    """
    known = named(name)
    if known is None:
        close = difflib.get_close_matches(name.lower(), CATALOGUE, n=2, cutoff=0.6)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise NoSuchModel(f"The catalogue has no model {name!r}.{hint}")
    source = importlib.import_module(f"vi_kl.models.{CATALOGUE[known].source}")
    return source.posterior(known).target if CATALOGUE[known].source == "posteriordb" else source.TARGETS[known]()
