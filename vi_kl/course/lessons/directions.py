"""Lesson 4: the two directions of KL."""

import numpy as np
import numpyro.distributions as dist

from vi_kl.course.exercise import Exercise, Lesson
from vi_kl.course.kinds import choice, distribution, number

LESSON = Lesson(
    "Two directions",
    "learn/two_directions.md",
    (
        "say for each direction where it charges q",
        "compute how much too narrow mean field is, and what a missing mode costs",
        "choose a direction for a purpose",
    ),
    (
        Exercise(
            "directions-1",
            "Two parameters of a normal posterior have sds of 1 and a correlation of 0.8. What is the sd of each "
            "parameter in the independent normals that are nearest by reverse KL?",
            number(
                lambda: np.sqrt(1 - 0.8**2),
                "It is the sd of one parameter when the other is known.",
                {
                    "That is the variance.": lambda sd: sd**2,
                    "That is the nearest by forward KL.": lambda _: 1.0,
                    "The correlation enters squared.": lambda _: np.sqrt(1 - 0.8),
                },
            ),
        ),
        Exercise(
            "directions-2",
            "A posterior has two humps far apart, with 70% and 30% of its mass. Reverse KL has settled on the smaller "
            "one. How many bits does q pay for that?",
            number(
                lambda: -np.log2(0.3),
                "It is minus the logarithm of the share that q covers, however far the other hump is away.",
                {
                    "It is right in nats, and the question asks for bits.": lambda bits: bits * np.log(2),
                    "That is the price of the larger hump.": lambda _: -np.log2(0.7),
                    "That is the price where both humps have one half.": lambda _: 1.0,
                },
            ),
        ),
        Exercise(
            "directions-3",
            "p is 0.5 Normal(−2, 1) + 0.5 Normal(2, 1). Give the normal that is nearest to it by forward KL, as a "
            "numpyro.distributions.Normal.",
            distribution(
                lambda: dist.Normal(0.0, np.sqrt(5.0)),
                "It has p's mean and p's variance: that of a hump, and that between the humps.",
                {
                    "That has the sd of one hump: how far apart are the humps?": lambda: dist.Normal(0.0, 1.0),
                    "The second number of a Normal is its sd, not its variance.": lambda: dist.Normal(0.0, 5.0),
                    "That is what reverse KL settles on.": lambda: dist.Normal(2.0, 1.0),
                    "That is the variance between the humps alone.": lambda: dist.Normal(0.0, 2.0),
                },
            ),
        ),
        Exercise(
            "directions-4",
            'q is wanted as a proposal for importance sampling. Which direction should it minimise: "forward" or '
            '"reverse"?',
            choice(
                "forward",
                "Where p is and the proposal is not, weights explode, and forward KL charges for just that.",
                {"reverse": "It lets q leave out parts of p. What happens to the weights there?"},
            ),
        ),
    ),
)
