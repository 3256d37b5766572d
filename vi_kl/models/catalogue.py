"""The catalogue: every model of this part by name, its dimension, its data, and what is hard about it.

It is read without JAX; `make_target(name)` imports what it needs. Those of posteriordb read their data from the copy of
the database that the environment variable POSTERIORDB_PATH names. Which method serves is measured, and not thought out:
`tests/benchmarks/measure_catalogue.py` compares methods on each model and writes measured.json, which is read here.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.resources
import json
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
        data: "real", with their source; "simulated", with the seed; "made up", a few numbers for a closed form;
            "none"; or "posteriordb", where the database says which.
        exact: how the posterior can be known: "closed form", "quadrature", "reference draws" of posteriordb, or
            "reference_run", for a run of NUTS that has to pass its checks.
    """

    name: str
    source: str
    dim: int
    hard: str
    data: str = "posteriordb"
    exact: str = "reference draws"

    @property
    def measured(self) -> "Measured | None":
        """What a comparison of methods on this model has found; None where none was made."""
        found = all_measured()["models"].get(self.name)
        return None if found is None else Measured(**found)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a comparison of methods on a model has found.

    Attributes:
        method: the one that the comparison chooses: the cheapest that is close enough, or else the cheapest that cannot
            be told apart from the nearest.
        serves: whether it is near enough to stand in for the posterior.
        nearest: the method with the highest ELBO.
        kl: KL(q||posterior) of the chosen one, in nats; None where it is unknown.
        standard_error: its standard error.
        label: how much that figure is worth ("exact", "certified", "estimated", "unknown").
        gradients: evaluations of the log density with its gradient that the fit took.
        methods: those that were compared.
    """

    method: str
    serves: bool
    nearest: str
    kl: float | None
    standard_error: float | None
    label: str
    gradients: int
    methods: tuple[str, ...]

    def __str__(self):
        if not self.serves:
            return f"none (nearest: {self.nearest})"
        kl = "?" if self.kl is None else f"{self.kl:.2g}" if self.kl >= LEAST else f"<{LEAST:g}"
        return f"{self.method} ({kl})"


@functools.cache
def all_measured() -> dict:
    """Return what was measured: how, in words, and {"models": {name: the fields of `Measured`}}."""
    return json.loads(importlib.resources.files(__package__).joinpath("measured.json").read_text(encoding="utf-8"))


LEAST = 1e-4  # nats: what is nearer is indistinguishable from the posterior in practice
MADE_UP = ("made up", "closed form")
ENTRIES = (
    Entry("beta_binomial", "conjugate", 1, "nothing but skewness: the evidence is known exactly", *MADE_UP),
    Entry("gamma_poisson", "conjugate", 1, "nothing but skewness: the evidence is known exactly", *MADE_UP),
    Entry("dirichlet_multinomial", "conjugate", 3, "a simplex; known exactly", *MADE_UP),
    Entry("dirichlet_categorical", "conjugate", 2, "a simplex; known exactly", *MADE_UP),
    Entry("normal_normal", "conjugate", 1, "nothing: the posterior is normal", *MADE_UP),
    Entry("linear_regression_known_noise", "conjugate", 3, "correlation alone: the posterior is normal", *MADE_UP),
    Entry("linear_regression", "conjugate", 4, "coefficients that depend on the noise; known exactly", *MADE_UP),
    Entry("local_level", "conjugate", 15, "a path whose neighbours are correlated; normal", *MADE_UP),
    Entry("autoregression_plus_noise", "conjugate", 15, "a path whose neighbours are correlated; normal", *MADE_UP),
    Entry("funnel", "textbook", 10, "a funnel: a log variance sets the spread of nine others", "none", "closed form"),
    Entry("banana", "textbook", 2, "a curved ridge: one coordinate bends with the other", "none", "closed form"),
    Entry(
        "eight_schools_centred",
        "textbook",
        10,
        "a funnel: the scale of the effects sets their spread",
        "real: Rubin (1981)",
        "reference_run",
    ),
    Entry(
        "eight_schools_noncentred",
        "textbook",
        10,
        "the same written for samplers: skewness in the scale of the effects only",
        "real: Rubin (1981)",
        "reference_run",
    ),
    Entry("logistic_regression", "textbook", 4, "little: nearly normal", "simulated, seed 20261123", "reference_run"),
    Entry(
        "poisson_regression",
        "textbook",
        9,
        "counts of which some are nought: long tails to the left of two coefficients",
        "real: damage to ships, McCullagh & Nelder (1983)",
        "reference_run",
    ),
    Entry(
        "varying_slopes",
        "textbook",
        46,
        "intercepts and slopes of 20 groups with a learned correlation: an LKJ prior, and centred groups",
        "simulated, seed 5",
        "reference_run",
    ),
    Entry(
        "item_response",
        "textbook",
        143,
        "answers of 100 people to 20 items, with two parameters an item: products of latent numbers",
        "simulated, seed 8",
        "reference_run",
    ),
    Entry(
        "gaussian_process",
        "textbook",
        3,
        "hyperparameters of a Gaussian process: long tails, and every value costs a factorisation",
        "simulated, seed 18",
        "reference_run",
    ),
    Entry(
        "lotka_volterra",
        "textbook",
        8,
        "a differential equation: far from its mode the series have other periods",
        "real: hares and lynxes, Hewitt (1921)",
        "reference_run",
    ),
    Entry(
        "stochastic_volatility",
        "textbook",
        103,
        "a hidden log variance for each of 100 days: persistence and spread are barely known",
        "simulated, seed 17",
        "reference_run",
    ),
    Entry(
        "hidden_markov",
        "textbook",
        33,
        "three hidden states, summed out over 500 steps: rare words near probability 0",
        "simulated, seed 14",
        "reference_run",
    ),
    Entry(
        "mixture",
        "textbook",
        5,
        "two normals that overlap, with ordered means: one component may be nearly empty",
        "simulated, seed 19",
        "reference_run",
    ),
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


def similar(name: str) -> list[str]:
    """Return one or two names of the catalogue that may be meant: those that begin so, or else are spelled alike."""
    begun = [known for known in CATALOGUE if known.startswith(name.lower())]
    return begun[:2] or difflib.get_close_matches(name.lower(), CATALOGUE, n=2, cutoff=0.6)


def entry_of(name: str) -> Entry:
    """Return the entry of a model, by its name in either spelling of "centred".

    Raises:
        NoSuchModel: there is none of that name.
    """
    known = named(name)
    if known is None:
        close = similar(name)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise NoSuchModel(f"The catalogue has no model {name!r}.{hint} `vi-kl models` lists all there are.")
    return CATALOGUE[known]


def make_target(name: str) -> "Target":
    """Make the target of a model of the catalogue, with its own data.

    Raises:
        NoSuchModel: there is none of that name.
        FileNotFoundError: it is one of posteriordb's, and POSTERIORDB_PATH does not name a copy of the database.
    """
    entry = entry_of(name)
    source = importlib.import_module(f"vi_kl.models.{entry.source}")
    return source.posterior(entry.name).target if entry.source == "posteriordb" else source.TARGETS[entry.name]()
