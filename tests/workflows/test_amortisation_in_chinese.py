"""Records of an encoder's rows in Chinese: every sentence has its Chinese with the same figures, and all is printed."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.workflows.amortisation import evidence, record
from vi_kl.workflows.amortisation.words import CHINESE

CJK = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]{2,},? [a-z]{2,},? [a-z]{2,}")  # three words in a row
TABLE = ("row", "log evidence", "best ELBO", "encoder's ELBO", "approximation gap", "amortisation gap", "± se", "k-hat")
FIGURE = re.compile(r"\d[\d.,]*\d|\d")


@pytest.fixture(scope="module")
def found():
    draws = np.random.default_rng(0).normal(size=(3, 500))
    return evidence.record_of("guide", draws * [[0.1], [0.5], [4.0]] - 100)


def test_every_sentence_has_its_chinese_and_no_other_is_there():
    texts = set(TABLE)
    for module in (evidence, record):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say" and node.args:
                said = node.args[0]
                assert isinstance(said, ast.Name) or ast.literal_eval(said) in CHINESE
    assert CHINESE.keys() <= texts


def test_the_figures_of_a_sentence_are_in_both_languages():
    for english, words in CHINESE.items():
        assert sorted(re.findall(r"\{\w*\}", english)) == sorted(re.findall(r"\{\w*\}", words)), english
        assert not CJK.search(english)
        assert not ENGLISH.search(words), words


def test_the_evidence_of_rows_is_printed_in_chinese_with_the_same_figures(found):
    told = found.in_language("zh")
    pairs = list(zip(str(found).splitlines(), str(told).splitlines(), strict=True))
    assert len(pairs) == 5
    for english, words in pairs:
        assert sorted(FIGURE.findall(english)) == sorted(FIGURE.findall(words))
        assert CJK.search(words)
        assert not ENGLISH.search(words), words
        assert not CJK.search(english)
    assert "看不见的：" in str(told)


def test_in_english_it_says_what_its_figures_say(found):
    assert str(found.total) in str(found)
    assert str(found.limits) in str(found)
    assert f"above 0.7 for {found.unreliable} of 3 rows" in str(found)
    assert found.unreliable == 1  # the weights of the last row are those of a normal with an sd of 4


def test_the_language_stays_out_of_the_figures(found):
    told = found.in_language("zh")
    assert told.in_language("en") == found
    assert told.to_dict() == found.to_dict()
    with pytest.raises(ValueError, match="one of en, zh"):
        found.in_language("fr")


def amortisation(lost, family, converged=True):
    """Return a record of two rows of forty, with the given gaps."""
    rows = tuple(
        record.RowGap(
            row=row,
            log_evidence=Estimate(-7.0, 0.1),
            evidence_limits=Limits(-7.5, -6.5, 0.95),
            best=Estimate(-8.0, 0.1),
            encoded=Estimate(-9.0, 0.1),
            approximation_gap=None if family is None else Estimate(family, 0.01),
            amortisation_gap=Estimate(lost, 0.01),
            k_hat=0.5,
            converged=converged,
        )
        for row in (3, 17)
    )
    elbo = Estimate(-345.6, 1.2, "Monte Carlo, 16 draws of q for each of 40 rows", num_draws=640)
    return record.Amortisation("guide", "mean_field", elbo, 40, rows, np.full(40, -8.64))


@pytest.mark.parametrize(("lost", "family"), [(1.5, 0.2), (0.2, 1.5), (0.01, 0.02), (1.5, None)])
def test_what_an_encoder_loses_is_printed_in_chinese_with_the_same_figures(lost, family):
    found = amortisation(lost, family, converged=family is not None)
    told = found.in_language("zh")
    for english, words in zip(str(found).splitlines(), str(told).splitlines(), strict=True):
        assert sorted(FIGURE.findall(english)) == sorted(FIGURE.findall(words))
        assert not ENGLISH.search(words), words
        assert not CJK.search(english)
    assert "编码器的 ELBO" in str(told)
    assert (told.to_dict()["amortisation_gap"], told.num_rows) == (found.to_dict()["amortisation_gap"], 40)
    assert told.in_language("en") == found
    with pytest.raises(ValueError, match="one of en, zh"):
        found.in_language("fr")


def test_in_english_what_an_encoder_loses_is_written_as_its_estimates_are():
    found = amortisation(1.5, 0.2)
    for estimate in (found.elbo, found.approximation_gap, found.amortisation_gap):
        assert str(estimate) in str(found)
    assert "approximation gap  unknown, a row" in str(amortisation(1.5, None))
