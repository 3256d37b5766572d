"""Certificates in Chinese: every sentence has its Chinese with the same figures, and a certificate speaks it whole."""

import ast
import dataclasses
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import vi_kl
from vi_kl.core.estimate import Estimate
from vi_kl.core.languages import Sentence, speaking
from vi_kl.diagnostics import chinese, figures_in_chinese, movement
from vi_kl.diagnostics.chinese import CHINESE
from vi_kl.diagnostics.consistency import find_contradictions
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.diagnostics.judgement import SCALE
from vi_kl.diagnostics.sentences import say_again

FOLDER = Path(chinese.__file__).parent
SPEAKING = ("verdict", "advice", "movement", "saturation", "certificate", "gap", "consistency")
SAYING = ("say", "Sentence.of")
CJK = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]{2,},? [a-z]{2,},? [a-z]{2,}")  # three words in a row
FIGURES = r"\d[\d.,]*\d|\d"
SOURCES = {"closed form", "quadrature", "reference run", "run started from a fit", "sequential Monte Carlo"}
LABELS = {"exact", "certified", "estimated", "unknown"}
# what is said by the name of a field
NAMED = SOURCES | LABELS | {words for _, words in SCALE} | {"far", "mean", "correlation", "the log density"}
NAMED |= set(movement.QUANTILES)
NAMED |= {"difference of the two", "log evidence - ELBO of the best member", "the total less the other three"}


def said_in(module):
    """Return the sentences that a module says: where `say` is called, or by the names that it is called with."""
    tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    assigned = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            assigned.setdefault(node.targets[0].id, []).append(node.value)
    waiting = [
        node.args[0] for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in SAYING
    ]
    said = set()
    while waiting:
        first = waiting.pop()
        if isinstance(first, ast.Constant):
            said.add(first.value)
        elif isinstance(first, ast.IfExp):
            waiting += [first.body, first.orelse]
        elif isinstance(first, ast.Name):
            waiting += assigned[first.id]
        else:
            assert ast.unparse(first) in {"m.source", "self.source", "self.label", "self.what", "describe(kl)"}
    return said


def test_every_sentence_has_its_chinese_and_no_other_is_there():
    assert set().union(*map(said_in, SPEAKING)) | NAMED == CHINESE.keys()


def test_the_figures_of_a_sentence_are_in_both_languages():
    for english, words in CHINESE.items():
        assert sorted(re.findall(r"\{\w*\}", english)) == sorted(re.findall(r"\{\w*\}", words)), english
        assert not CJK.search(english)
        assert not ENGLISH.search(re.sub(r"\(.*?\)|\"\w+\"", "", words)), words


def correlated(z):
    return -0.5 * (z[0] ** 2 + (z[1] - 0.9 * z[0]) ** 2 / 0.19)


def two_modes(z):
    return jnp.logaddexp(-0.5 * z[0] ** 2, -0.5 * (z[0] - 20) ** 2)


@pytest.fixture(scope="module")
def certificates():
    narrow = vi_kl.fit(vi_kl.Target.from_log_density(correlated, 2), "mean_field", key=0)
    missing = vi_kl.fit(vi_kl.Target.from_log_density(two_modes, 1), "mean_field", start=[0.0], key=0)
    return [vi_kl.check(narrow, key=1), vi_kl.check(narrow, vi_kl.find_reference, key=1), vi_kl.check(missing, key=1)]


def test_a_certificate_says_the_same_in_chinese(certificates):
    for c in certificates:
        told = c.in_language("zh")
        both = zip((c.verdict, c.cannot_see, *c.try_next), (told.verdict, told.cannot_see, *told.try_next), strict=True)
        for english, words in both:
            assert CJK.search(words)
            assert not ENGLISH.search(words), words
            assert sorted(re.findall(FIGURES, english)) == sorted(re.findall(FIGURES, words))
        assert told.verdict in str(told)
        assert "看不见的：" in str(told)
        assert (told.label, told.reverse_kl) == (c.label, c.reverse_kl)
    assert "漏掉" in certificates[2].in_language("zh").verdict or "缺了峰" in certificates[2].in_language("zh").verdict


def test_a_certificate_is_printed_in_chinese_with_the_same_figures(certificates):
    for c in certificates:
        told = c.in_language("zh")
        for english, words in zip(
            f"{c}\n{c.headline}".splitlines(), f"{told}\n{told.headline}".splitlines(), strict=True
        ):
            assert sorted(re.findall(FIGURES, english)) == sorted(re.findall(FIGURES, words))
            assert not ENGLISH.search(re.sub(r"\"\w+\"", "", words)), words
    told = certificates[0].in_language("zh")
    assert "\n  对数证据     1.0" in str(told)
    assert told.headline.startswith("mean_field，估计：KL(q||后验) ")


def test_patterns_of_what_is_printed_are_what_is_printed():
    """The English of each pattern stands in the code that prints it, and both languages have the same fields."""
    package = Path(vi_kl.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py") if path != Path(figures_in_chinese.__file__))
    for pattern, chinese_words in figures_in_chinese.PATTERNS.items():
        assert max(re.split(r"\{\w+\}", pattern), key=len).strip("% ,()") in code, pattern
        assert sorted(re.findall(r"\{\w+\}", pattern)) == sorted(re.findall(r"\{\w+\}", chinese_words)), pattern
        assert CJK.search(re.sub(r"\{\w+\}", "", chinese_words)) or "（" in chinese_words, pattern


def test_the_language_stays_with_a_certificate_and_out_of_its_numbers(certificates):
    c = certificates[0]
    told = c.in_language("zh")
    assert told.to("bits").verdict == told.verdict
    assert told.in_language("en") == c
    assert told.to_dict().keys() == c.to_dict().keys()
    assert not CJK.search(str(c))
    assert np.isclose(told.to("bits").reverse_kl.value, c.reverse_kl.value / np.log(2))
    with pytest.raises(ValueError, match="one of en, zh"):
        c.in_language("fr")


def test_what_contradicts_is_said_in_chinese_with_the_same_figures(certificates):
    known = {"evidence_limits": Limits(-1.5, -1.5, 0.95), "gap": Estimate(-2.0, 0.1), "integrated": Estimate(3.0)}
    evidence = Estimate(-2.0, 0.01, "quadrature")
    reference = SimpleNamespace(log_evidence=evidence, second_opinion=Estimate(-4.0, 0.01, "nested sampling"))
    too_high = SimpleNamespace(log_evidence=Estimate(-1.0, 0.01, "quadrature"), second_opinion=None)
    found = {*find_contradictions(known, reference, 0.4), *find_contradictions(known, too_high, 0.0)}
    assert len(found) == 6
    for sentence in found:
        doubted = dataclasses.replace(certificates[1], contradictions=(sentence,), language="zh")
        assert sentence not in doubted.verdict
        with speaking("zh"):
            words = say_again(pickle.loads(pickle.dumps(sentence)))
        assert words in doubted.verdict
        assert CJK.search(words)
        assert not ENGLISH.search(re.sub(r"\(.*?\)", "", words)), words
        assert sorted(re.findall(FIGURES, sentence)) == sorted(re.findall(FIGURES, words))
        assert say_again(sentence) == sentence
    with speaking("zh"):
        assert say_again("Two and two are five.") == "Two and two are five."


def test_a_gap_is_printed_in_chinese_with_the_same_figures(certificates):
    fit = vi_kl.fit(vi_kl.Target.from_log_density(correlated, 2), "mean_field", key=0)
    known, unknown = vi_kl.explain_gap(fit, vi_kl.find_reference, key=1), vi_kl.explain_gap(fit, key=1)
    warned = dataclasses.replace(
        unknown,
        total=None,
        note=Sentence.of("The family's part needs the total, and so a reference."),
        warnings=find_contradictions({}, None, 0.4),
    )
    for gap in (known, unknown, warned):
        told = gap.in_language("zh")
        for english, words in zip(str(gap).splitlines(), str(told).splitlines(), strict=True):
            assert sorted(re.findall(FIGURES, english)) == sorted(re.findall(FIGURES, words))
            assert CJK.search(words)
            assert not ENGLISH.search(re.sub(r"（.*?）", "", words)), words
        assert not CJK.search(str(gap))
        assert told.to_dict() == gap.to_dict()
        assert told.in_language("en") == gap
    assert "作为正态分布" in str(known.in_language("zh"))
    with pytest.raises(ValueError, match="one of en, zh"):
        known.in_language("fr")
