"""Lesson 8: a VAE whose gap is known."""

import numpy as np

from vi_kl.course.exercise import Exercise, Lesson
from vi_kl.course.kinds import choice, number

LESSON = Lesson(
    "A VAE that is checked",
    "learn/vae.md",
    (
        "split an encoder's gap into approximation and amortisation, and say what mends each",
        "turn nats a picture into bits a pixel",
        "say when a coordinate of a VAE collapses, and why",
    ),
    (
        Exercise(
            "vae-1",
            "A picture's log evidence is −118.0 nats, the ELBO of its own best q −118.5, and that of the encoder's q "
            "−120.2. What is the amortisation gap, in nats?",
            number(
                lambda: 120.2 - 118.5,
                "A better encoder, or steps of the picture's own, would mend it.",
                {
                    "That is the approximation gap, which no encoder mends.": lambda _: 0.5,
                    "That is both gaps together.": lambda _: 2.2,
                },
            ),
        ),
        Exercise(
            "vae-2",
            "A picture of 64 pixels has a log density of −118 nats, in units of one grey level. How many bits is that "
            "a pixel?",
            number(
                lambda: 118 / 64 / np.log(2),
                "A picture of 17 equally probable levels would take 4.09.",
                {
                    "It is right in nats, and the question asks for bits.": lambda bits: bits * np.log(2),
                    "That is the whole picture.": lambda bits: bits * 64,
                    "To go from nats to bits, divide by log 2.": lambda bits: bits * np.log(2) ** 2,
                },
            ),
        ),
        Exercise(
            "vae-3",
            "In the linear model, pictures vary by λ = 10 along a direction, noise included; the noise has σ² = 12. "
            "What is the KL between q and the prior of the coordinate for it, at the best weights?",
            number(
                lambda: 0.0,
                "It has collapsed: it would cost more than it explains.",
                {"½ log(λ/σ²) holds where λ > σ².": lambda _: 0.5 * np.log(10 / 12)},
            ),
        ),
        Exercise(
            "vae-4",
            "Two VAEs have the ELBOs −121 and −118 nats a picture held out. Which one should be said to be the better "
            'model: "first", "second" or "unknown"?',
            choice(
                "unknown",
                "Their gaps may differ by more than 3 nats: compare evidences, or limits of them.",
                {"first": "Its bound is the lower one.", "second": "Its bound is higher. How large is each gap?"},
            ),
        ),
    ),
)
