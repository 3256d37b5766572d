"""Lesson 2: the ELBO, and the evidence that it is below."""

import numpy as np

from vi_kl.course.exercise import Exercise, Lesson
from vi_kl.course.kinds import choice, number, probabilities
from vi_kl.models.conjugate import beta_binomial

IN_BITS = "It is right in bits, and the question asks for nats."

LESSON = Lesson(
    "From KL to the ELBO",
    "learn/from_kl_to_the_elbo.md",
    (
        "say which of evidence, ELBO and KL can be computed, and how they add up",
        "compute a posterior and an evidence by enumeration, and read an ELBO as a code length",
        "tell which ELBOs may be compared with each other",
    ),
    (
        Exercise(
            "elbo-1",
            "Of five worms three can swim. The chance of swimming has a uniform prior. What is the log evidence of "
            "'three of five', in nats?",
            number(
                lambda: beta_binomial([3], [5], a=1.0, b=1.0).reference.log_evidence.value,
                "Every number from 0 to 5 is equally probable beforehand.",
                {
                    IN_BITS: lambda nats: nats / np.log(2),
                    "That is the evidence itself: its logarithm is asked for.": np.exp,
                    "That is the largest likelihood, at the best chance; the evidence is an average over all of "
                    "them.": lambda _: np.log(10 * 0.6**3 * 0.4**2),
                },
            ),
        ),
        Exercise(
            "elbo-2",
            "Three kinds of worm have prior probabilities 1/2, 1/4 and 1/4, and give what was seen with probabilities "
            "1/8, 1/2 and 1/4. What are the posterior probabilities?",
            probabilities(
                lambda: np.array([1 / 16, 1 / 8, 1 / 16]) * 4,
                "Prior times likelihood, divided by the evidence, which is 1/4.",
                {
                    "That is prior times likelihood: divide by what it adds up to.": [1 / 16, 1 / 8, 1 / 16],
                    "That is the likelihood alone: where is the prior?": [1 / 7, 4 / 7, 2 / 7],
                },
            ),
        ),
        Exercise(
            "elbo-3",
            "The same worms, and q = (1/2, 1/4, 1/4), the prior. How many bits does sending the data cost on average, "
            "by bits-back coding with this q?",
            number(
                lambda: -0.5 * np.log2(1 / 8) - 0.25 * np.log2(1 / 2) - 0.25 * np.log2(1 / 4),
                "It is −ELBO: 2 bits for the evidence, and KL(q‖posterior) on top. The prior's bits come back whole.",
                {
                    "That is what the posterior would cost: how much does this q waste?": lambda _: 2.0,
                    "That is the waste alone: the data cost something, too.": lambda bits: bits - 2.0,
                    "It is right in nats, and the question asks for bits.": lambda bits: bits * np.log(2),
                },
            ),
        ),
        Exercise(
            "elbo-4",
            "Two models of the same data were fitted. The ELBO of the first is −105 nats, that of the second −103. "
            'Which model has the larger evidence: "first", "second" or "unknown"?',
            choice(
                "unknown",
                "Each ELBO is below its own evidence, by a gap of its own.",
                {
                    "first": "Nothing says so: its ELBO is the lower one.",
                    "second": "Its lower bound is higher. Is its evidence?",
                },
            ),
        ),
    ),
)
