"""The evidence of rows in Chinese: every sentence has its Chinese with the same figures, and a record prints it all."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from vi_kl.workflows.amortisation import evidence
from vi_kl.workflows.amortisation.words import CHINESE

CJK = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]{2,},? [a-z]{2,},? [a-z]{2,}")  # three words in a row
FIGURE = re.compile(r"\d[\d.,]*\d|\d")


@pytest.fixture(scope="module")
def found():
    draws = np.random.default_rng(0).normal(size=(3, 500))
    return evidence.record_of("guide", draws * [[0.1], [0.5], [4.0]] - 100)


def test_every_sentence_has_its_chinese_and_no_other_is_there():
    tree = ast.parse(Path(evidence.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say"]
    assert {ast.literal_eval(call.args[0]) for call in calls} == CHINESE.keys()


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
