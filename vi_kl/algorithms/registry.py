"""The registry of the methods that `fit` knows by name, with one entry for each, from which all lists of them are made.

To add a family or an algorithm, add its file and an entry here. `fit`'s names and error messages, the tables of the
documentation, colours in figures and the conformance suites are made from the entries.
"""

from vi_kl.algorithms.auto_fit import AutoFit
from vi_kl.algorithms.batch_and_match import BatchAndMatch, GaussianScoreMatching
from vi_kl.algorithms.coordinate_ascent import CoordinateAscent
from vi_kl.algorithms.density_regression import DensityRegression
from vi_kl.algorithms.laplace import Laplace
from vi_kl.algorithms.linear_response import LinearResponse
from vi_kl.algorithms.map import MAP
from vi_kl.algorithms.method import (
    BLUE,
    BROWN,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    PURPLE,
    SKY,
    VERMILION,
    Method,
)
from vi_kl.algorithms.moment_matching import MomentMatching
from vi_kl.algorithms.natural_gradient import NaturalGradient
from vi_kl.algorithms.nested_newton import NestedNewton
from vi_kl.algorithms.pathfinder import Pathfinder
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.svgd import SVGD
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.algorithms.variational_newton import VariationalNewton
from vi_kl.families.block_normal import BlockNormal
from vi_kl.families.constrained import Constrained
from vi_kl.families.coupling import Coupling
from vi_kl.families.flow import Flow
from vi_kl.families.gaussian import FullRank, MeanField
from vi_kl.families.low_rank import LowRank
from vi_kl.families.mixture import Mixture
from vi_kl.families.skewed import Skewed
from vi_kl.families.student_t import StudentT
from vi_kl.objectives.elbo import ELBO

FLOW = SVI(Coupling(), ELBO(num_draws=16, gradient="total"), step_size=0.02, smallest_step_size=1e-5, tolerance=2e-3)
DEFAULT = "automatic"  # the method of `fit` if none is named

ENTRIES = (
    Method(
        "automatic", AutoFit, "default",
        "Laplace's normal, then the best normal, then a flow: as far as its own check asks for.",
        "To begin with.",
        colour=GREY, synonyms=("auto", "default", "ladder"),
    ),
    Method(
        "laplace", Laplace, "normal",
        "The normal distribution at the posterior's mode, with the curvature there: no error where the posterior is "
        "normal, a poor one where it is skewed.",
        "For a first look from a few dozen gradients, and where the posterior is nearly normal.",
        "a twice differentiable log density with a proper mode",
        ORANGE, "dotted",
        ("auto laplace approximation", "auto laplace", "laplace approximation"),
    ),
    Method(
        "full_rank", lambda: SampleAverageApproximation(FullRank()), "normal",
        "A normal distribution with any covariance: it sees correlation, and no skewness.",
        "For correlated parameters, up to a hundred or two.",
        colour=GREEN,
        synonyms=("full rank advi", "auto multivariate normal", "multivariate normal", "gaussian", "dense"),
    ),
    Method(
        "mean_field", lambda: SampleAverageApproximation(MeanField()), "normal",
        "Independent normal distributions: cheap, and too certain wherever parameters are correlated.",
        "For very many parameters, and to see what correlation costs.",
        colour=BLUE, dash="dashed",
        synonyms=("advi", "mean field advi", "mfvi", "bbvi", "auto normal", "auto diagonal normal", "diagonal"),
    ),
    Method(
        "linear_response", LinearResponse, "normal",
        "A mean-field fit, with the covariance that its means imply.",
        "For very many parameters, where mean field's means are right and a covariance is wanted.",
        colour=BLUE, dash="dotted", synonyms=("lrvb", "linear response vb"),
    ),
    Method(
        "low_rank", lambda: SampleAverageApproximation(LowRank()), "normal",
        "A normal distribution whose covariance is diagonal plus a few common factors: the strongest correlations.",
        "From about a hundred parameters on.",
        "a differentiable log density, at least two dimensions",
        SKY, "dashed", ("auto low rank multivariate normal", "low rank normal"),
    ),
    Method(
        "sparse_normal", VariationalNewton, "normal",
        "The best normal distribution, found by Newton's method where most second derivatives of the log density are "
        "zero: any covariance, at the cost of the ones that are not.",
        "For models with plates, crossed effects or chains in time, from about a hundred parameters to tens of "
        "thousands.",
        "a log density that is twice differentiable in forward mode, with a sparse Hessian",
        SKY, "dash_dot", ("sparse", "variational newton", "gaussian markov random field", "gmrf"),
    ),
    Method(
        "block_normal", lambda: SampleAverageApproximation(BlockNormal()), "normal",
        "A normal distribution with correlation within each site, and none between sites.",
        "Where a model's parts hang together inside (the slopes of a regression, the states of a series) and less "
        "across, and a full covariance has too many entries to learn.",
        colour=SKY, dash="dotted",
    ),
    Method(
        "natural_gradient", NaturalGradient, "normal",
        "The best normal in reverse KL, by natural gradients on fixed noise: some tens of steps, and no step size.",
        "Where gradients take seconds.",
        "a differentiable log density, at most 400 dimensions",
        GREEN, "dashed", ("ngvi", "natural gradients", "von"),
    ),
    Method(
        "batch_and_match", BatchAndMatch, "normal",
        "The normal distribution whose scores agree with the posterior's; each update fits a whole batch of scores.",
        "Where gradients take seconds and the posterior is nearly normal.",
        "a differentiable log density, at most 400 dimensions",
        GREEN, "dotted", ("bam",),
    ),
    Method(
        "gaussian_score_matching", GaussianScoreMatching, "normal",
        "The normal distribution whose scores agree with the posterior's; each update averages over normal "
        "distributions that fit one score exactly.",
        "As `batch_and_match`.",
        "a differentiable log density, at most 400 dimensions",
        GREEN, "dash_dot", ("gsm", "score matching"),
    ),
    Method(
        "moment_matching", MomentMatching, "normal",
        "The normal distribution with the posterior's own mean and covariance: the best in the forward direction.",
        "To see what forward KL would do.",
        "a known reference, to draw from the exact posterior",
        VERMILION, "dash_dot", ("moments", "adf"),
    ),
    Method(
        "skewed", lambda: SampleAverageApproximation(Skewed()), "richer",
        "A full-rank normal distribution, each coordinate bent to its own skewness and tails.",
        "Where a full-rank normal is nearly right, but skewed or heavy-tailed somewhere, as scales and variances make "
        "it; it costs hardly more.",
        colour=SKY,
    ),
    Method(
        "flow", lambda: FLOW, "richer",
        "A normalising flow: half of the coordinates are bent by maps that a network makes of the other half, in "
        "turns. Slower to compile and to fit.",
        "For a curved posterior.",
        "a differentiable log density, at least two dimensions",
        PINK,
        synonyms=("normalizing flow", "normalising flow", "nf", "realnvp", "neural spline flow", "nsf", "coupling"),
    ),
    Method(
        "regressed_flow", DensityRegression, "richer",
        "The same kind of flow, fitted to the log density and its gradient at a thousand points or two, instead of by "
        "stochastic gradients.",
        "For a curved posterior whose gradients are dear, where a normal comes near it.",
        "a differentiable log density, at least two dimensions",
        PINK, "dotted", ("density regression", "flow by regression"),
    ),
    Method(
        "iaf", lambda: SVI(Flow(), ELBO(num_draws=32), step_size=0.02, smallest_step_size=1e-5), "richer",
        "A normalising flow by inverse autoregressive networks, which bend every coordinate by those before it.",
        "As `flow`; slower.",
        "a differentiable log density, at least two dimensions",
        PINK, "dashed", ("auto iaf normal", "inverse autoregressive flow"),
    ),
    Method(
        "student_t", lambda: SVI(StudentT()), "richer",
        "A multivariate Student t distribution with its degrees of freedom learned.",
        "For heavy tails, or draws to be reweighted: their weights stay bounded.",
        colour=GREY, dash="dashed", synonyms=("t", "student"),
    ),
    Method(
        "nested_normal", NestedNewton, "richer",
        "The density of up to three hyperparameters on a grid, times the best sparse normal of all else given them, "
        "which may be skewed: as integrated nested Laplace approximations, with a q that can be checked.",
        "For hierarchies of any size, whose spreads no normal gets right.",
        "a log density that is twice differentiable in forward mode, with a sparse Hessian",
        VERMILION, "dotted",
        ("nested", "inla", "integrated nested laplace", "nested laplace", "nested newton"),
    ),
    Method(
        "pathfinder", Pathfinder, "richer",
        "The best of the normal distributions along climbs to the modes, or a mixture of those of several modes.",
        "For a first look from about a thousand gradients, for several modes, and where there is no mode, as in a "
        "centred hierarchical model.",
        "a differentiable log density, at most 400 dimensions",
        BROWN, synonyms=("multi path pathfinder",),
    ),
    Method(
        "mixture", lambda: SVI(Mixture(), ELBO(num_draws=12)), "richer",
        "Several normal distributions with weights.",
        "For several modes that are known: start it from a frame that covers them.",
        colour=PURPLE,
    ),
    Method(
        "constrained", lambda: SVI(Constrained(), ELBO(num_draws=4)), "sites",
        "For each site the distribution that a person would choose there: normals, gammas, betas, Dirichlets.",
        "For a model that is nearly conjugate.",
        "a NumPyro model, with supports that do not depend on other latent sites",
        PURPLE, "dashed",
    ),
    Method(
        "coordinate_ascent", CoordinateAscent, "sites",
        "Mean field in closed form: each site's best factor in turn, given the others, until the ELBO stands still.",
        "For a conjugate model, and for teaching.",
        "a NumPyro model whose sites, each given all others, are normal, gamma, inverse gamma or beta",
        BLUE, "dash_dot", ("cavi", "vb", "variational bayes", "vmp"),
    ),
    Method(
        "map", MAP, "points",
        "The point of highest posterior density.",
        "For a point, not for uncertainty.",
        "a twice differentiable log density with a proper mode",
        synonyms=("auto delta", "mode", "maximum a posteriori"),
    ),
    Method(
        "svgd", SVGD, "points",
        "A set of particles moved together until they lie like draws of the posterior.",
        "To see a shape that no family has.",
        colour=BROWN, dash="dashed",
        synonyms=("stein", "stein vi", "stein variational gradient descent"),
    ),
)  # fmt: skip

METHODS: dict[str, Method] = {entry.name: entry for entry in ENTRIES}
