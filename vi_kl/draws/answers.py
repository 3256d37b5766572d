"""Answers: what a Fit, an Approximation and a reference posterior can all be asked, written once.

A subclass says by `drawn` how it draws z; summary, prediction, log likelihood and ArviZ follow from the draws.
"""

import abc
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import part_of, reporting
from vi_kl.core.random_keys import as_key, fold_in, is_key
from vi_kl.core.suggestions import names_its_arguments
from vi_kl.draws.labels import Coords, Dims, Labels
from vi_kl.draws.model_runs import OBSERVED, USUAL, ModelRuns, predict, usual_number
from vi_kl.draws.summary import PROBABILITIES, Summary, summarise
from vi_kl.draws.target_draws import TargetDraws
from vi_kl.targets.target import Target

if TYPE_CHECKING:
    import xarray

MANY = 16_384  # draws of a summary: their means err by less than a hundredth of an sd


class Answers(abc.ABC):
    """What can be drawn from, and so summarised, used to predict, and handed to ArviZ: draws of a target's z."""

    @property
    def holds_draws(self) -> bool:
        """Whether there are draws already, all of which are taken by default."""
        return False

    @abc.abstractmethod
    def drawn(self, key: jax.Array, n: int | None) -> TargetDraws:
        """Return n draws of z; or all of them, if n is None, of what holds draws."""

    @abc.abstractmethod
    def target_of_draws(self) -> Target:
        """Return the target whose z is drawn."""

    @names_its_arguments
    @in_float64
    def summary(
        self,
        key: KeyLike,
        n: int | None = None,
        *,
        certificate: Any = None,
        probabilities: Sequence[float] = PROBABILITIES,
        coords: Coords | None = None,
        dims: Dims | None = None,
    ) -> Summary:
        """Summarise every entry of every site: mean, sd, quantiles.

        Args:
            key: a JAX random key, or an integer.
            n: the number of draws; by default 16,384, or all of a run of MCMC.
            certificate: what `vi_kl.check` found, to stand beside the numbers: how far each mean and sd is off, the
                verdict, and what it cannot see.
            probabilities: the probabilities of the quantiles.
            coords: {axis: names of its entries}, so that rows are called `theta[Choate]`. An axis is called as its
                plate is.
            dims: {site: names of its axes}, where there is no plate, or its name will not do.

        Returns:
            A Summary, which printed is a table; `to_dataframe()` has the numbers.

        Raises:
            ValueError: the certificate is of something else, or coords or dims do not fit the sites.
        """
        draws = self.drawn(*asked(key, n, default=None if self.holds_draws else MANY))
        sites = draws.sites()
        shapes = {name: x.shape[1:] for name, x in sites.items()}
        density = draws.target.density
        labels = Labels.of(shapes, dict(density.dims), dims, coords, density.coords)
        return summarise(draws, labels, sites, probabilities, certificate)

    @in_float64
    def predict(
        self,
        key: KeyLike,
        *args: Any,
        n: int | None = None,
        sites: Collection[str] | None = None,
        redraw: Collection[str] = (),
        progress: ProgressLike = None,
        **kwargs: Any,
    ) -> dict[str, np.ndarray]:
        """Draw from the posterior predictive distribution, by running the model forward once for each draw.

        Without arguments of the model, its data are drawn again, as one compares them with the data themselves. With
        arguments, the model is run with these: all that it takes, the data to be predicted being None or of the right
        shape with any values. Latent sites keep their draws. One whose shape is another with the new arguments (groups
        that the data do not have) is drawn from the model only if `redraw` names it.

        Args:
            key: a JAX random key, or an integer.
            *args: the model's positional arguments.
            n: the number of draws; by default 1,000, or fewer where they would fill the memory, and all of a run of
                MCMC.
            sites: the names of the sites to return; by default all that the model draws or computes in this run. Latent
                ones, if named, are the draws that the predictions rest on.
            redraw: latent sites to draw anew, given the others.
            progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
                False; by default it is shown on a terminal and in a notebook after two seconds.
            **kwargs: the model's keyword arguments. One that is called as an argument above is given by its position.

        Returns:
            {site: (n, ...)}.

        Raises:
            UnsuitableError: the target's source cannot run its model forward, as a log density cannot.
            ModelError: the model does not run on the arguments, or a latent site has another shape with them.
        """
        key, n = asked(key, n)
        arguments = (args, kwargs) if args or kwargs else None
        runs, draws = self.runs_and_draws("predict", key, n)
        with reporting(progress, "predict") as report:
            values = runs.values(draws.z, fold_in(key, 2), part_of(report, 0.0, 0.3))
            rest = part_of(report, 0.3, 1.0)
            return predict(runs, values, fold_in(key, 3), rest, arguments=arguments, sites=sites, redraw=redraw)

    @names_its_arguments
    @in_float64
    def log_likelihood(
        self, key: KeyLike, n: int | None = None, *, progress: ProgressLike = None
    ) -> dict[str, np.ndarray]:
        """Return the log likelihood of each observation at each draw, {observed site: (n, ...)}, in nats.

        An observation is one entry of the site's batch: what `to_event` joins has one log likelihood. Masked entries
        have 0, scales of handlers and plates are left out, and `numpyro.factor` is no observation. Discrete sites that
        are summed out in a fit are drawn here, from their posterior given each draw, and the log likelihood is given
        their values.

        Args:
            key: a JAX random key, or an integer; the same key and n draw as `predict` does.
            n: the number of draws; by default 1,000, or fewer where they would fill the memory, and all of a run of
                MCMC.
            progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
                False; by default it is shown on a terminal and in a notebook after two seconds.

        Raises:
            UnsuitableError: the target's source has no observations, as a log density has none.
            ValueError: the model has no observed site.
        """
        key, n = asked(key, n)
        runs, draws = self.runs_and_draws("log_likelihood", key, n)
        observed = runs.named(OBSERVED)
        if not observed:
            raise ValueError(f"The model '{runs.run}' has no observed site: its sites are {', '.join(runs.sites)}.")
        with reporting(progress, "log likelihood") as report:
            values = runs.values(draws.z, fold_in(key, 2), part_of(report, 0.0, 0.3))
            return runs.log_probs(values, observed, part_of(report, 0.3, 1.0))

    @names_its_arguments
    @in_float64
    def to_arviz(
        self,
        key: KeyLike,
        n: int | None = None,
        *,
        predictive: bool | None = None,
        log_likelihood: bool | None = None,
        prior: bool = False,
        certificate: Any = None,
        coords: Coords | None = None,
        dims: Dims | None = None,
        progress: ProgressLike = None,
    ) -> "xarray.DataTree":
        """Return the draws as ArviZ keeps them: an xarray DataTree, with dims chain and draw.

        Its groups are posterior (latent, discrete and deterministic sites), sample_stats (`lp`, the log density of z
        under the target, and for draws of an approximation `log_q`), posterior_predictive, log_likelihood, log_prior,
        observed_data and constant_data; and prior and prior_predictive, if they are asked for. Draws of an
        approximation are one chain of independent draws: R-hat and the like are about chains, say nothing of how far it
        is from the posterior, and are not to be read (ArviZ gives NaN for one chain); the certificate is what says it.

        Args:
            key: a JAX random key, or an integer.
            n: the number of draws; by default 1,000, or fewer where predictions would fill the memory, and all of a run
                of MCMC.
            predictive: whether to have posterior_predictive; by default if the model can be run forward.
            log_likelihood: whether to have log_likelihood and log_prior; by default likewise.
            prior: whether to have prior and prior_predictive.
            certificate: what `vi_kl.check` found, to go into the attributes, in words.
            coords: {axis: names of its entries}. An axis is called as its plate is.
            dims: {site: names of its axes}, where there is no plate, or its name will not do.
            progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
                False; by default it is shown on a terminal and in a notebook after two seconds.

        Raises:
            ImportError: ArviZ is not installed; `pip install "vi_kl[arviz]"` does it.
            UnsuitableError, ValueError: a group is asked for that the target's source or the model does not have.
        """
        from vi_kl.draws.arviz import Wanted, datatree, require_arviz

        require_arviz()
        key, n = asked(key, n)
        if predictive or log_likelihood or prior or self.target_of_draws().density.offers("forward"):
            runs, draws = self.runs_and_draws("to_arviz", key, n)
        else:
            runs, draws = None, self.drawn(key, USUAL if n is None and not self.holds_draws else n)
        wanted = Wanted(predictive, log_likelihood, prior)
        with reporting(progress, "to_arviz") as report:
            return datatree(draws, runs, wanted, certificate, coords, dims, report)

    def runs_and_draws(self, user: str, key: jax.Array, n: int | None) -> tuple[ModelRuns, TargetDraws]:
        """Return the runs of the target's model, and n draws, or as many of what is observed as can be held."""
        runs = ModelRuns.of(self.target_of_draws(), user)
        if n is None and not self.holds_draws:
            n = usual_number([site.shape for site in runs.sites.values()])
        return runs, self.drawn(key, n)


def asked(key: Any, n: Any, default: int | None = None) -> tuple[jax.Array, int | None]:
    """Return a key and a number of draws from the arguments of a method, after checking them."""
    if is_key(n):
        raise TypeError("The key comes first, and then the number of draws: (key, n).")
    return as_key(key), default if n is None else whole_number("n, the number of draws,", n)
