"""Lesson 1: KL as the price of the wrong code."""

import numpy as np

from vi_kl.course.exercise import Exercise, Lesson
from vi_kl.course.kinds import number
from vi_kl.divergences import entropy, kl_divergence

IN_NATS = "It is right in nats, and the question asks for bits."
OTHER_WAY = "That is the other direction: whose messages are sent, and whose code is used?"

LESSON = Lesson(
    "KL is a price",
    "learn/kl_in_five_minutes.md",
    (
        "compute entropy, cross-entropy and KL of a few probabilities, in bits and in nats",
        "say what KL costs, and whom",
        "know what zeros do to it, and what smoothing does to zeros",
    ),
    (
        Exercise(
            "kl-1",
            "Four kinds of worms have probabilities 0.4, 0.3, 0.2 and 0.1. How many bits does the best code take for a "
            "worm, on average?",
            number(
                lambda: entropy([0.4, 0.3, 0.2, 0.1], base=2),
                "That is the entropy, and no code does better.",
                {
                    IN_NATS: lambda bits: bits * np.log(2),
                    "That is what a code takes that holds all four equally probable.": lambda _: 2.0,
                },
            ),
        ),
        Exercise(
            "kl-2",
            "The same worms are sent by a code that was made for the probabilities 0.1, 0.2, 0.3 and 0.4. How many "
            "bits does it waste on a worm, on average?",
            number(
                lambda: kl_divergence([0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], base=2),
                "In this pair the other direction happens to cost the same; mostly it does not.",
                {
                    IN_NATS: lambda bits: bits * np.log(2),
                    "That is all that a worm costs by this code, the cross-entropy: how much is wasted?": lambda bits: (
                        bits + entropy([0.4, 0.3, 0.2, 0.1], base=2)
                    ),
                },
            ),
        ),
        Exercise(
            "kl-3",
            "A coin falls heads with probability 0.9, and your code takes it for fair. How many bits are wasted a "
            "throw?",
            number(
                lambda: kl_divergence([0.9, 0.1], [0.5, 0.5], base=2),
                "It is 1 bit less the entropy of the coin.",
                {
                    IN_NATS: lambda bits: bits * np.log(2),
                    OTHER_WAY: lambda _: kl_divergence([0.5, 0.5], [0.9, 0.1], base=2),
                    "That is the entropy of the coin.": lambda bits: 1 - bits,
                },
            ),
        ),
    ),
)
