"""Lesson 6: hierarchies, and why VI and NUTS disagree on them."""

import numpy as np

from vi_kl.course.exercise import Exercise, Lesson
from vi_kl.course.kinds import choice, number

LESSON = Lesson(
    "Why VI and NUTS disagree",
    "learn/why_vi_and_nuts_disagree.md",
    (
        "recognise a funnel, and write a hierarchy in two ways",
        "tell a disagreement that comes from q from one that comes from the chains",
    ),
    (
        Exercise(
            "disagree-1",
            "A hierarchy of eight groups has few data in each. Which way of writing it has the easier posterior: "
            '"centred" or "non-centred"?',
            choice(
                "non-centred",
                "With few data the effects follow their prior, and the funnel is gone when it is written out.",
                {"centred": "With few data the effects are as wide as the group sd says: what shape has that?"},
            ),
        ),
        Exercise(
            "disagree-2",
            "Given its group sd tau, an effect theta is Normal(0, tau). By what factor does the sd of theta change "
            "where log tau falls by 2?",
            number(
                lambda: np.exp(-2.0),
                "One step size cannot serve both ends, and neither can one normal.",
                {
                    "That is by how much it grows where log tau rises.": lambda _: np.exp(2.0),
                    "tau is the sd; its logarithm falls by 2, and what does the sd itself do?": lambda _: 0.5,
                    "That is the factor of the variance.": lambda _: np.exp(-4.0),
                },
            ),
        ),
    ),
)
