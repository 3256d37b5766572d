"""Lesson 3: the same objective with many parameters."""

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.course.exercise import Exercise, Lesson
from vi_kl.course.kinds import number
from vi_kl.divergences import kl_divergence

LESSON = Lesson(
    "Many parameters",
    "learn/many_parameters.md",
    (
        "add up the KL of independent parts",
        "know why a small error in each of many parameters is a large KL",
        "count what a family of q costs in parameters",
    ),
    (
        Exercise(
            "many-1",
            "The posterior is 200 independent standard normals, and q has each mean wrong by 0.1, all else right. What "
            "is KL(q‖posterior), in nats?",
            number(
                lambda: kl_divergence(
                    dist.Normal(jnp.full(200, 0.1), 1.0).to_event(1), dist.Normal(jnp.zeros(200), 1.0).to_event(1)
                ),
                "KL adds up over independent parts: no mean is off by much, and q as a whole is far.",
                {
                    "That is the KL of one of them.": lambda kl: kl / 200,
                    "There is a factor of one half in the KL of two normals.": lambda kl: 2 * kl,
                    "The shift of a mean enters squared.": lambda kl: 10 * kl,
                },
            ),
        ),
        Exercise(
            "many-2",
            "How many numbers describe a normal of 50 dimensions with any mean and any covariance?",
            number(
                lambda: 50 + 50 * 51 / 2,
                "Mean field takes 100: this is why it is where people begin.",
                {
                    "A covariance is symmetric: count each entry once.": lambda _: 50 + 50**2,
                    "The mean counts too.": lambda n: n - 50,
                    "That is what independent normals take.": lambda _: 100,
                },
                close=1e-9,
            ),
        ),
    ),
)
