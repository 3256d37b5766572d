"""The course: right answers, by formulas of their own, are right; slips are told from other mistakes; nothing leaks."""

import re
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, special

from vi_kl import course

RIGHT = {
    "kl-1": -sum(p * np.log2(p) for p in (0.4, 0.3, 0.2, 0.1)),
    "kl-2": 0.3 * 2 + 0.1 * np.log2(1.5),  # (0.4 - 0.1) log2 4 + (0.3 - 0.2) log2 1.5
    "kl-3": 1 + 0.9 * np.log2(0.9) + 0.1 * np.log2(0.1),
    "elbo-1": np.log(special.comb(5, 3) * integrate.quad(lambda p: p**3 * (1 - p) ** 2, 0, 1)[0]),
    "elbo-2": [0.25, 0.5, 0.25],
    "elbo-3": 2.25,
    "elbo-4": "unknown",
    "many-1": 200 * 0.1**2 / 2,
    "many-2": 1325,
    "directions-1": 0.6,
    "directions-2": np.log(1 / 0.3) / np.log(2),
    "directions-3": dist.Normal(0, np.sqrt(5)),
    "directions-4": "forward",
    "monte-1": 9000,
    "monte-2": 64 / 22,
    "monte-3": "no",
    "disagree-1": "non-centred",
    "disagree-2": np.exp(-2),
    # trace of the inverse less the dimension, and the log determinant: 2 / (1 - rho^2) - 2 + log(1 - rho^2), halved
    "certificate-1": (2 / 0.64 - 2 + np.log(0.64)) / 2,
    "certificate-2": np.log(2),
    "certificate-3": "estimated",
    "vae-1": 1.7,
    "vae-2": 118 / 64 / 0.6931472,
    "vae-3": 0,
    "vae-4": "unknown",
}
EXERCISES = {each.name: each for lesson in course.lessons() for each in lesson.exercises}


def test_right_answers_are_right_and_wrong_ones_are_not():
    assert EXERCISES.keys() == RIGHT.keys()
    for name, answer in RIGHT.items():
        found = course.check(name, answer)
        assert found, (name, answer, str(found))
        assert str(found).startswith("Right. ")
        wrong = {str: "sideways", list: [0.2, 0.5, 0.3], dist.Normal: dist.Normal(1, 1)}.get(type(answer))
        assert not course.check(name, 7.7 if wrong is None else wrong), name


def slips(name):
    """Return {words: slip} of an exercise, with what it closes over looked through."""
    cells = [cell.cell_contents for cell in EXERCISES[name].judge.__closure__]
    return next((each for each in cells if isinstance(each, dict)), {})


def test_a_slip_is_named_and_the_answer_is_not():
    assert "nats" in str(course.check("kl-1", RIGHT["kl-1"] * np.log(2)))
    assert "variance" in str(course.check("directions-1", 0.36))
    assert "its variance" in str(course.check("directions-3", dist.Normal(0, 5)))
    assert "divide" in str(course.check("elbo-2", [1 / 16, 1 / 8, 1 / 16]))
    assert "add up to 0.9" in str(course.check("elbo-2", [0.3, 0.3, 0.3]))
    assert "sign" in str(course.check("elbo-1", np.log(6)))
    for name, answer in RIGHT.items():
        for words in slips(name):
            if isinstance(answer, str):
                assert not re.search(rf'"{re.escape(answer)}"', words), name
            elif np.ndim(answer) == 0 and not isinstance(answer, dist.Distribution):
                figures = [float(each) for each in re.findall(r"\d+\.?\d*", words)]
                assert not any(np.isclose(each, float(answer), rtol=0.01, atol=0) for each in figures), (name, words)


def test_every_slip_differs_from_the_answer_and_from_the_others():
    for name, answer in RIGHT.items():
        if isinstance(answer, str | list | dist.Distribution):
            continue
        values = [slip(float(answer)) for slip in slips(name).values()]
        for i, value in enumerate(values):
            assert not np.isclose(value, float(answer), rtol=0.02, atol=1e-9), name
            assert not any(np.isclose(value, other, rtol=0.02) for other in values[:i]), name
            assert not course.check(name, value), name


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("kl-1", "three", "of type str"),
        ("kl-1", True, "of type bool"),
        ("kl-1", np.nan, "One finite number"),
        ("kl-1", [1.0, 2.0], "A number"),
        ("kl-1", np.array([1.0, 2.0]), "One finite number"),
        ("elbo-2", [0.5, 0.5], "3 probabilities"),
        ("elbo-2", [1.5, -0.25, -0.25], "never negative"),
        ("elbo-2", "half", "list of 3 probabilities"),
        ("elbo-4", 2, 'Choose one of "first", "second", "unknown"'),
        ("directions-3", dist.Gamma(1, 1), r"Normal is asked for, not a Gamma"),
        ("directions-3", dist.Normal(np.array([0.0, 1.0]), 1.0), "One distribution of one number"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(name, answer, words):
    found = course.check(name, answer)
    assert not found
    assert re.search(words, str(found)), str(found)


def test_an_unknown_exercise_is_answered_with_those_that_come_near():
    with pytest.raises(ValueError, match=r"no exercise 'kl1'\. There are: kl-1"):
        course.check("kl1", 3)
    with pytest.raises(ValueError, match="elbo-1"):
        course.question("swimming")


def test_eight_lessons_stand_on_pages_that_there_are_and_the_page_of_the_course_has_all_exercises():
    docs = Path(__file__).parents[2] / "docs"
    lessons = course.lessons()
    assert len(lessons) == 8
    text = (docs / "learn" / "course.md").read_text()
    for lesson in lessons:
        assert (docs / lesson.page).exists()
        assert lesson.goals
        assert f"({Path(lesson.page).name})" in text, lesson.page
        for exercise in lesson.exercises:
            assert f'ask("{exercise.name}")' in text, exercise.name
            assert f'check("{exercise.name}"' in text, exercise.name
            assert course.question(exercise.name).endswith(("?", "."))
