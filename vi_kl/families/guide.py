"""Guide: the family that a NumPyro guide spans, hand-written or automatic.

A guide is written over the model's own (constrained) sites. vi_kl checks everything in z, so its density is
carried over with the Jacobian of the target's change of variables.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer import autoguide

from vi_kl.core.compilation import CarriesArrays, compiled
from vi_kl.core.errors import ViKLError, said
from vi_kl.core.kept_programs import tracing
from vi_kl.core.precision import in_float64
from vi_kl.core.programs.program import capture, kept, shape_of
from vi_kl.families.family import Family
from vi_kl.targets.captured import ClosedOver, same
from vi_kl.targets.density import require_capability
from vi_kl.targets.minibatch import own_rows, with_rows
from vi_kl.targets.numpyro.parameters import change_of_param, free_of, moved
from vi_kl.targets.numpyro.plates import AllRows, ChosenRows, SubsampledRows
from vi_kl.targets.sites import constrained_shapes, unconstrained_shapes
from vi_kl.targets.target import Target

REFUSED = {
    autoguide.AutoDelta: "it is a point, and the KL of a point from a density is infinite: use 'laplace'",
    autoguide.AutoLaplaceApproximation: "as a guide it is a point: use 'laplace', which fits the same normal",
    autoguide.AutoDAIS: "the density of its draws is not known, only a bound of it: use 'flow'",
    autoguide.AutoSemiDAIS: "the density of its draws is not known, only a bound of it: use 'flow'",
}


class GuideError(ViKLError, ValueError):
    """An error: the guide does not fit the model; the message names the sites."""


@dataclasses.dataclass(frozen=True, eq=False)
class Guide(Family, CarriesArrays):
    """A family of all the q that a NumPyro guide gives as its `numpyro.param` values vary.

    A fit keeps the guide as it was when it was fitted (`captured`): its programs and the arrays that it closes over.

    Attributes:
        guide: a guide function with the model's arguments, an autoguide, or an autoguide class.
        label: the name in tables and figures; the guide's own name by default.
        programs: tuples (name, program, places among `closed_over`) of `run_draw`, `run_log_prob` and
            `run_distributions`, and of the same with the rows of a minibatch, if the guide follows them.
        closed_over: the arrays that the guide reads besides its arguments.
        follows: whether the guide draws the latent variables of each row inside the model's subsampling plates, from
            that row alone, so that it is run with the rows of a minibatch: an encoder of each row, say. None before it
            is captured.
    """

    guide: Callable
    label: str | None = None
    programs: tuple = dataclasses.field(default=(), repr=False)
    closed_over: tuple = dataclasses.field(default=(), repr=False)
    follows: bool | None = dataclasses.field(default=None, repr=False)

    @property
    def identity(self) -> tuple:
        return (self.programs,) if self.programs else (self.guide, self.label)

    def __eq__(self, other):
        if not isinstance(other, Guide) or self.identity != other.identity:
            return False
        ours, theirs = self.closed_over, other.closed_over
        return len(ours) == len(theirs) and all(map(same, ours, theirs))

    def __hash__(self):
        return hash(self.identity)

    def detached(self):
        return dataclasses.replace(self, closed_over=()), self.closed_over

    def attached(self, arrays):
        return dataclasses.replace(self, closed_over=tuple(arrays))

    @property
    def name(self) -> str:
        return self.label or getattr(self.guide, "__name__", type(self.guide).__name__)

    @property
    def has_log_prob(self) -> bool:
        return not any(isinstance(p, autoguide.AutoIAFNormal | autoguide.AutoBNAFNormal) for p in parts_of(self.guide))

    def require(self, target):
        require_capability(target, "numpyro_guides", f"Guide '{self.name}'", GuideError)
        for part in parts_of(self.guide):
            for kind, reason in REFUSED.items():
                if isinstance(part, kind):
                    where = "" if part is self.guide else f"{self.name} has the part {kind.__name__}. "
                    raise GuideError(f"{where}{kind.__name__} is not a family of densities: {reason}.")

    @in_float64
    def init(self, key, target):
        """Return starting parameters, and check the guide's sites, from one trace outside jit.

        Automatic guides look at the model in their first run.
        """
        self.require(target)
        args, kwargs = target.density.guide_arguments(target.density.split(target.data)[0])
        # with the model's sites filled in, nothing is drawn, and so next to nothing is compiled
        guide = handlers.substitute(
            handlers.seed(AllRows(self.guide), key), data=target.constrain(np.zeros(target.dim))
        )
        try:
            with tracing:
                trace = handlers.trace(guide).get_trace(*args, **kwargs)
        except TypeError as error:
            if accepts(self.guide, args, kwargs):
                raise
            raise GuideError(f"Guide '{self.name}' must take the model's own arguments: {said(error)}.") from error
        except AssertionError as error:
            raise GuideError(f"Guide '{self.name}' does not run: {error}{one_prefix(self.guide)}") from error
        check_sites(self.name, trace, target)
        # a network asks for its weights once without giving any, to see whether they are there
        params = {name: site for name, site in trace.items() if site["type"] == "param" and site["value"] is not None}
        shared = sorted(set(params) & set(target.density.learnable))
        if shared:
            raise GuideError(
                f"Guide '{self.name}' and the model both have a parameter '{shared[0]}'. Those of the guide are its "
                f"own: give it another name there."
            )
        return {name: unconstrained_param(site) for name, site in params.items()}

    @in_float64
    def captured(self, target: Target) -> "Guide":
        """Return the guide as it is now, for targets of this structure."""
        if isinstance(self.guide, autoguide.AutoContinuous):
            return self  # it closes over the model only
        live = dataclasses.replace(self, programs=(), closed_over=())
        params = live.init(jax.random.key(0), target)
        follows = follows_rows(live, target, params)
        found, programs = ClosedOver(), []
        for like in (target, first_rows(target)) if follows else (target,):
            given = jax.tree.map(shape_of, live.given(like))
            values = jax.eval_shape(live.fillings, unconstrained_shapes(like.sites), constrained_shapes(like.sites))
            for name, more in {"draw": jax.random.key(0), "log_prob": values, "distributions": values}.items():
                run = functools.partial(getattr(live, f"run_{name}"), like)
                program, constants = capture(run, jax.tree.map(shape_of, params), given, more)
                programs.append((program_name(name, like), program, found.places(constants)))
        closed_over = tuple(map(kept, found.constants))
        return dataclasses.replace(self, programs=tuple(programs), closed_over=closed_over, follows=follows)

    def given(self, target: Target) -> tuple:
        """Return what the guide is run with: the data as the user gave it, and the rows of a minibatch."""
        density = target.density
        return density.split(target.data)[0], density.rows_of(target.data)

    def run(self, name: str, params, target: Target, more):
        """Return the result of `run_<name>` as it was when the guide was captured, or as it is now if it was not."""
        given = self.given(target)
        for own, program, places in self.programs if jax.config.jax_enable_x64 else ():
            if own == program_name(name, target):
                return program([self.closed_over[i] for i in places], params, given, more)
        return getattr(self, f"run_{name}")(target, params, given, more)

    def for_minibatch(self, target):
        return own_rows if self.follows else with_rows

    def fillings(self, unconstrained: dict, constrained: dict) -> dict:
        """Return the values of the guide's sites at a point, for `run_log_prob` and `run_distributions`.

        An automatic guide over a flat vector, a part of a list, draws that vector, of which its sites are points
        (Delta): the vector is filled in, and they follow from it.
        """
        flat = [part for part in parts_of(self.guide) if isinstance(part, autoguide.AutoContinuous)]
        determined = {name for part in flat for name in part._init_locs}
        vectors = {
            f"_{part.prefix}_latent": jnp.concatenate([jnp.ravel(unconstrained[name]) for name in part._init_locs])
            for part in flat
        }
        return {name: value for name, value in constrained.items() if name not in determined} | vectors

    def run_draw(self, target, params, given, key):
        """Return one draw of the sites and its log density."""
        trace = self.trace(target, params, given, key)
        return {name: trace[name]["value"] for name in target.site_names}, trace_log_prob(trace)

    def run_log_prob(self, target, params, given, values):
        """Return the log density of the sites at these values."""
        return trace_log_prob(self.trace(target, params, given, jax.random.key(0), values))

    def run_distributions(self, target, params, given, values) -> dict:
        """Return {site: distribution}, given the values of the sites that it depends on."""
        trace = self.trace(target, params, given, jax.random.key(0), values)
        return {name: site["fn"] for name, site in trace.items() if site["type"] == "sample"}

    def trace(self, target: Target, params, given, key, values=None, record_params=None):
        """Return NumPyro's trace of the guide at these parameters, with sites drawn, or set to the given `values`."""

        def fill(site):
            if site["type"] == "param" and site["name"] in params:
                value = constrained_param(site, params[site["name"]])
                if record_params is not None:
                    record_params[site["name"]] = value
                return value
            if site["type"] == "sample" and values is not None:
                return values.get(site["name"])
            return None

        data, rows = given
        guide = SubsampledRows(self.guide, rows)
        guide = handlers.substitute(handlers.seed(guide, key), substitute_fn=fill)
        args, kwargs = target.density.guide_arguments(data)
        with tracing:
            return handlers.trace(guide).get_trace(*args, **kwargs)

    def distribution(self, params, target):
        if isinstance(self.guide, autoguide.AutoContinuous):
            return self.autoguide_distribution(params, target)
        return GuideDistribution(self, params, target)

    def autoguide_distribution(self, params, target):
        """Return an automatic guide's distribution over z.

        Automatic guides over a flat vector hold z in the order that targets use.
        """
        values = {}
        self.trace(target, params, self.given(target), jax.random.key(0), record_params=values)
        posterior = self.guide.get_posterior(values)
        return posterior if posterior.event_shape else posterior.to_event(1)


@dataclasses.dataclass(frozen=True)
class GuideOfRows:
    """A guide for the posterior of some rows (`vi_kl.targets.numpyro.new_data.posterior_of_rows`).

    Attributes:
        function: the guide of all rows.
        num_skipped: the number of arguments, after the rows, that are the model's and not the guide's.
    """

    function: Callable
    num_skipped: int

    def __call__(self, rows, *args, **kwargs):
        with ChosenRows(rows=rows):
            return self.function(*args[self.num_skipped :], **kwargs)

    @property
    def __name__(self):
        return getattr(self.function, "__name__", type(self.function).__name__)


def guide_of_rows(family: Guide, target: Target, of_rows: Target) -> Guide:
    """Return the family that a guide of a target spans for the posterior of some of its rows."""
    skipped = 1 if target.density.learnable else 0
    return Guide(GuideOfRows(family.guide, skipped), family.label).captured(of_rows)


def guide_for(family: Guide, target: Target) -> Guide:
    """Return the family that a captured guide spans for a target of the same model and other data.

    Raises:
        GuideError: the guide reads other arrays than when it was captured.
    """
    live = Guide(family.guide, family.label).captured(target)
    ours, theirs = family.closed_over, live.closed_over
    if len(ours) != len(theirs) or not all(map(same, ours, theirs)):
        raise GuideError(
            f"The arrays that the guide '{family.name}' reads besides its arguments have been replaced since it was "
            f"fitted: fit it anew."
        )
    return live


def guide_family(guide, target: Target, label: str | None = None) -> Guide:
    """Return the family of a guide function, an autoguide, or an autoguide class (made for the target's model)."""
    if inspect.isclass(guide) and issubclass(guide, autoguide.AutoGuide):
        for kind, reason in REFUSED.items():
            if issubclass(guide, kind):
                raise GuideError(f"{kind.__name__} is not a family of densities: {reason}.")
        require_capability(target, "numpyro_guides", guide.__name__, GuideError)
        return Guide(guide(target.density.guide_model), label or guide.__name__)
    return Guide(guide, label)


def parts_of(guide) -> Iterator:
    """Yield the guide, or the guides that an AutoGuideList is made of, however deep."""
    if not isinstance(guide, autoguide.AutoGuideList):
        yield guide
        return
    for part in guide:
        yield from parts_of(part)


def program_name(name: str, target: Target) -> str:
    return f"{name} of rows" if target.density.rows_of(target.data) else name


def first_rows(target: Target) -> Target:
    """Return the minibatch of the first rows of each plate."""
    return own_rows(target, {plate.name: jnp.arange(plate.batch) for plate in target.density.plates})


@in_float64
def follows_rows(guide: Guide, target: Target, params=None) -> bool:
    """Return whether a guide can be run with the rows of a minibatch: each row's q is the same whatever the others.

    It is tried at parameters around the first, for some rows: the log probability of each must not change.
    """
    if not target.subsampled or isinstance(guide.guide, autoguide.AutoGuide):
        return False
    params = guide.init(jax.random.key(0), target) if params is None else params
    generator = np.random.default_rng(0)
    moved_a_little = jax.tree.map(lambda x: x + 0.1 * generator.normal(size=np.shape(x)), params)
    rows = {p.name: np.sort(generator.choice(p.size, p.batch, replace=False)) for p in target.density.plates}
    z = jnp.asarray(generator.uniform(-1, 1, target.dim))
    try:
        full, part = row_log_probs(moved_a_little, target, z, rows, guide)
    except (ValueError, TypeError, IndexError):  # of a guide that is written for all rows
        return False
    return full.keys() == part.keys() and all(
        np.shape(full[name]) == np.shape(part[name]) and np.allclose(full[name], part[name], rtol=1e-7, atol=1e-9)
        for name in full
    )


@compiled(static=("guide",), unoptimized=True)
def row_log_probs(params, target: Target, z, rows: dict, guide: Guide) -> tuple[dict, dict]:
    """Return the log probability of each of these rows, by site, in a run of the guide with all rows and with these."""
    density = target.density
    given = density.split(target.data)[0]
    sites = density.constrain(target.data, target.unravel(z))[0]

    def run(rows, sites):
        trace = guide.trace(target, params, (given, rows), jax.random.key(0), sites)
        drawn = {name: site for name, site in trace.items() if site["type"] == "sample"}
        log_probs = {name: site["fn"].log_prob(site["value"]) for name, site in drawn.items()}
        return drawn, {name: jnp.broadcast_to(x, drawn[name]["fn"].batch_shape) for name, x in log_probs.items()}

    drawn, full = run({}, sites)
    for name, site in drawn.items():
        for frame in site["cond_indep_stack"]:
            if frame.name in rows:
                full[name] = jnp.take(full[name], rows[frame.name], frame.dim)
    return full, run(rows, density.taken(sites, rows))[1]


def one_prefix(guide) -> str:
    """Return a sentence on parts of a list that name their parameters alike; an empty string if none do."""
    prefixes = [part.prefix for part in parts_of(guide) if isinstance(part, autoguide.AutoContinuous)]
    twice = sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1})
    return f". Several of its parts have the prefix '{twice[0]}': give each its own (prefix=...)" if twice else ""


class GuideDistribution(dist.Distribution):
    """A density over z: that of a guide with given parameters, as a NumPyro distribution."""

    support = constraints.real_vector

    def __init__(self, family: Guide, params, target: Target):
        self.family, self.params, self.target = family, params, target
        super().__init__(batch_shape=(), event_shape=(target.dim,))

    def run(self, name: str, more):
        return self.family.run(name, self.params, self.target, more)

    def sample_with_intermediates(self, key, sample_shape=()):
        if sample_shape:
            raise ValueError("Draw many by jax.vmap over keys: a guide is one program run.")
        sites, log_q = self.run("draw", default_key(key))
        density = self.target.density
        unconstrained = density.unconstrain(self.target.data, sites)
        log_q = log_q + density.constrain(self.target.data, unconstrained)[1]
        return self.target.ravel(unconstrained), [log_q]

    def sample(self, key, sample_shape=()):
        return self.sample_with_intermediates(key, sample_shape)[0]

    def log_prob(self, value, intermediates=None):
        if intermediates:
            return intermediates[0]
        target = self.target
        unconstrained = target.unravel(value)
        constrained, log_det = target.density.constrain(target.data, unconstrained)
        return self.run("log_prob", self.family.fillings(unconstrained, constrained)) + log_det

    def distributions(self, z: float = 0.0) -> dict:
        """Return {site: distribution} where every coordinate is z, auxiliary sites included."""
        unconstrained = self.target.unravel(jnp.full(self.target.dim, z))
        constrained = self.target.density.constrain(self.target.data, unconstrained)[0]
        return self.run("distributions", self.family.fillings(unconstrained, constrained))

    @in_float64
    def site_distributions(self) -> dict[str, dist.Distribution] | None:
        """Return {site: distribution} if the guide draws its sites independently of each other, else None."""
        fns = [self.distributions(z) for z in (0.0, 0.5)]
        if set(fns[0]) != set(self.target.site_names):
            return None
        fns = [{name: each[name] for name in self.target.site_names} for each in fns]
        alike = all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(fns[0]), jax.tree.leaves(fns[1]), strict=True))
        return fns[0] if alike else None


def default_key(key):
    """Return a key of the kind that programs of guides take, whatever the caller's kind is."""
    expected = jax.random.key(0).dtype
    if key.dtype == expected:
        return key
    if key.dtype == jnp.uint32 and key.shape == jax.random.key_data(jax.random.key(0)).shape:
        return jax.random.wrap_key_data(key)
    return jax.random.key(jax.random.bits(key))


def trace_log_prob(trace):
    """Return the sum of the log probabilities of a trace's sample sites."""
    total = 0.0
    for site in trace.values():
        if site["type"] != "sample":
            continue
        fn, value, intermediates = site["fn"], site["value"], site["intermediates"]
        log_prob = fn.log_prob(value, intermediates) if intermediates else fn.log_prob(value)
        total += jnp.sum(log_prob if site["scale"] is None else site["scale"] * log_prob)
    return total


def unconstrained_param(site):
    return free_of(site["name"], site["value"], change_of_param(site))


def constrained_param(site, value):
    return moved(change_of_param(site), value)


def accepts(function, args, kwargs) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def check_sites(guide_name: str, trace, target: Target):
    """Refuse a guide that does not draw exactly the target's sites, in their shapes."""
    drawn = {name: site for name, site in trace.items() if site["type"] == "sample"}
    observed = [name for name, site in drawn.items() if site["is_observed"]]
    if observed:
        raise GuideError(f"Guide '{guide_name}' observes {observed}: a guide only draws latent sites.")
    main = {name for name, site in drawn.items() if not site["infer"].get("is_auxiliary")}
    missing, extra = set(target.site_names) - main, main - set(target.site_names)
    if missing or extra:
        says = [f"it does not draw {sorted(missing)}"] if missing else []
        says += [f"it draws {sorted(extra)}, which the model does not have"] if extra else []
        raise GuideError(
            f"Guide '{guide_name}' does not match the model's latent sites {list(target.site_names)}: "
            + " and ".join(says)
            + "."
        )
    for site in target.sites:
        shape = tuple(drawn[site.name]["fn"].shape())
        if shape != site.shape:
            raise GuideError(
                f"Guide '{guide_name}' draws '{site.name}' with shape {shape}; the model's has {site.shape}."
            )
