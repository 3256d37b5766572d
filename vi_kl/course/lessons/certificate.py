"""Lesson 7: reading a certificate."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.course.exercise import Exercise, Lesson
from vi_kl.course.kinds import choice, number
from vi_kl.divergences import kl_divergence

LESSON = Lesson(
    "Reading a certificate",
    "learn/reading_a_certificate.md",
    (
        "read label, KL, limit and verdict in their order",
        "tell what k-hat judges, and what it cannot see",
        "say what a certificate rests on without a reference",
    ),
    (
        Exercise(
            "certificate-1",
            "The posterior is a normal with means 0, sds 1 and correlation 0.6, and q has independent coordinates with "
            "means 0 and sds 1. What will the certificate say of KL(q‖posterior), in nats, to two digits?",
            number(
                lambda: kl_divergence(
                    dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)),
                    dist.MultivariateNormal(jnp.zeros(2), jnp.array([[1.0, 0.6], [0.6, 1.0]])),
                ),
                "The sds of q are right, and yet it is not near: its draws fall where the posterior is not.",
                {
                    "That is KL(posterior‖q).": lambda _: -0.5 * np.log(1 - 0.6**2),
                    "It is right in bits, and the question asks for nats.": lambda nats: nats / np.log(2),
                },
                close=0.03,
            ),
        ),
        Exercise(
            "certificate-2",
            "A q has k-hat 0.1 and an effective sample size of 99%. A second mode with half of the mass is far away. "
            "How many nats is q from the posterior, at least?",
            number(
                lambda: np.log(2.0),
                "k-hat and the sample size judge q by its own draws, which have not been there.",
                {
                    "That is in bits.": lambda _: 1.0,
                    "Half of the mass is missing: what does q have too much?": lambda _: 0.5,
                },
            ),
        ),
        Exercise(
            "certificate-3",
            'Which label may a certificate have that knows the KL from importance weights alone: "exact", "certified" '
            'or "estimated"?',
            choice(
                "estimated",
                "It holds as far as q's draws, wider ones and the climbs see.",
                {
                    "exact": "That takes a closed form or quadrature, of both.",
                    "certified": "That takes an exact log evidence, or a reference run that passed its checks.",
                },
            ),
        ),
    ),
)
