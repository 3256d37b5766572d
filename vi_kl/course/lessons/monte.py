"""Lesson 5: Monte Carlo beside variational inference."""

from vi_kl.course.exercise import Exercise, Lesson
from vi_kl.course.kinds import choice, number

LESSON = Lesson(
    "Monte Carlo or VI?",
    "learn/monte_carlo_or_vi.md",
    (
        "say how the error of draws falls with their number, and how that of a q does not",
        "compute the effective number of weighted draws",
        "combine both: importance weights on draws of q",
    ),
    (
        Exercise(
            "monte-1",
            "1,000 independent draws give a mean to ± 0.06. How many draws give it to ± 0.02?",
            number(
                lambda: 9_000.0,
                "A third of the error takes nine times the draws.",
                {"The error falls with the root of the number of draws.": lambda _: 3_000.0},
            ),
        ),
        Exercise(
            "monte-2",
            "Four draws of q have importance weights 4, 2, 1 and 1. How many equally weighted draws are they worth, by "
            "the usual formula for the effective sample size?",
            number(
                lambda: 8**2 / (4**2 + 2**2 + 1 + 1),
                "The square of the sum over the sum of the squares.",
                {
                    "That is the number of draws, as if all weights were alike.": lambda _: 4.0,
                    "Divide the square of the sum by the sum of the squares.": lambda ess: 1 / ess,
                    "That is the share of the draws: how many are they?": lambda ess: ess / 4,
                },
            ),
        ),
        Exercise(
            "monte-3",
            "A mean-field fit has converged, and its sds are 0.7 times the posterior's. Ten times as many steps: do "
            'they come nearer? "yes" or "no"?',
            choice(
                "no",
                "The family has no better member. A wider family, or weights, would help.",
                {"yes": "The best q of the family was found. What would further steps look for?"},
            ),
        ),
    ),
)
