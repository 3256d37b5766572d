"""The course: right answers, by formulas of their own, are right; slips are told from other mistakes; nothing leaks."""

import ast
import re
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, special

from vi_kl import course
from vi_kl.course import kinds
from vi_kl.course.chinese import CHINESE

CJK = re.compile(r"[\u4e00-\u9fff]")
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


def said_by_judges():
    """Return the sentences that the kinds of answers have of their own."""
    tree = ast.parse(Path(kinds.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "wrong"]
    firsts = [call.args[0] for call in calls]
    chosen = [part for first in firsts if isinstance(first, ast.IfExp) for part in (first.body, first.orelse)]
    return {part.value for part in [*firsts, *chosen] if isinstance(part, ast.Constant)}


def said_of_lessons():
    """Return the titles, goals and questions, and what is said of answers: the texts in the judges' closures."""
    said = {"Right.", "Not yet."}
    for lesson in course.lessons():
        said |= {lesson.title, *lesson.goals, *(exercise.question for exercise in lesson.exercises)}
    for exercise in EXERCISES.values():
        judge = exercise.judge
        while "because" not in judge.__code__.co_freevars:  # within what takes it to float64
            judge = next(cell.cell_contents for cell in judge.__closure__ if callable(cell.cell_contents))
        held = dict(zip(judge.__code__.co_freevars, (cell.cell_contents for cell in judge.__closure__), strict=True))
        said |= {held["because"], *held.get("slips", {}), *held.get("others", {}).values()}
    return said


def test_every_sentence_has_its_chinese_and_no_other_is_there():
    assert said_by_judges() | said_of_lessons() == CHINESE.keys()


def test_the_figures_of_a_sentence_are_in_both_languages():
    for english, chinese in CHINESE.items():
        assert sorted(re.findall(r"\{\w*\}", english)) == sorted(re.findall(r"\{\w*\}", chinese)), english
        plain = [re.findall(r"\d+(?:\.\d+)?", text.replace(",", "")) for text in (english, chinese)]
        assert set(plain[0]) <= set(plain[1]), english  # no number of a question is lost
        assert CJK.search(chinese), english
        assert not CJK.search(english), english


def test_the_course_is_held_in_chinese():
    for english, chinese in zip(course.lessons(), course.lessons("zh"), strict=True):
        assert (chinese.page, len(chinese.goals)) == (english.page, len(english.goals))
        assert [each.name for each in chinese.exercises] == [each.name for each in english.exercises]
        assert all(CJK.search(text) for text in (chinese.title, *chinese.goals))
    for name, answer in RIGHT.items():
        assert CJK.search(course.question(name, lang="zh"))
        right, wrong = course.check(name, answer, lang="zh"), course.check(name, 7.7, lang="zh")
        assert right, name
        assert str(right).startswith("对了。")
        assert not wrong
        assert str(wrong).startswith("还不对。")
        for words in slips(name):  # which give no more away in Chinese
            if np.ndim(answer) == 0 and not isinstance(answer, str | dist.Distribution):
                figures = [float(each) for each in re.findall(r"\d+\.?\d*", CHINESE[words])]
                assert not any(np.isclose(each, float(answer), rtol=0.01, atol=0) for each in figures), (name, words)
    assert str(course.check("elbo-2", [0.3, 0.3, 0.3], lang="zh")) == "还不对。它们加起来是 0.9，而概率之和应当是 1。"
    assert str(course.check("kl-1", 1)).startswith("Not yet. It is too small.")  # the next is asked in English
    with pytest.raises(ValueError, match="one of en, zh"):
        course.check("kl-1", 1, lang="fr")
