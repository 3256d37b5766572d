"""The story in Chinese: every sentence that is said has its Chinese, with the same figures, and no other is there."""

import ast
import re
import warnings
from pathlib import Path

import pytest

from vi_kl.core.languages import speaking
from vi_kl.demo.worms import figures, run, words
from vi_kl.demo.worms import models as worms
from vi_kl.demo.worms.article import article
from vi_kl.demo.worms.chinese import CHINESE
from vi_kl.demo.worms.fits import MODELS
from vi_kl.report import figures as plots

FOLDER = Path(words.__file__).parent
CJK = re.compile(r"[\u4e00-\u9fff]")


def said_in_so_many_words():
    """Return the sentences that are written where `say` is called."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    firsts = [call.args[0] for call in calls if getattr(call.func, "id", "") == "say"]
    return {node.value for node in firsts if isinstance(node, ast.Constant)}


def said_by_name():
    """Return the names and units that `say` is given as variables."""
    names = {figure.what for figure in article().figures} | {spec.title for spec in MODELS}
    stand_ins = {name.split("(")[0].split(",")[0] for name in article().approximations}
    made = (worms.binomial_model, worms.block_model, worms.categorical_model)
    made += (worms.beta_binomial_model, worms.two_kinds_model)
    told = {model.__doc__.strip() for model in made}
    directions = {"forward KL(observed || q)", "reverse KL(q || observed)"}
    return names | stand_ins | told | directions | {"bits", "nats", run.TITLE, run.LEAD}


@pytest.mark.landing
def test_every_sentence_has_its_chinese_and_no_other_is_there():
    assert said_in_so_many_words() | said_by_name() == CHINESE.keys()


def test_the_figures_of_a_sentence_are_in_both_languages():
    def fields(sentence):
        return sorted(set(re.findall(r"\{\w*\}", sentence)))

    for english, chinese in CHINESE.items():
        assert fields(english) == fields(chinese), english
        assert CJK.search(chinese), english
        assert not CJK.search(english), english


def test_a_language_holds_within_its_context():
    with speaking("zh"):
        assert words.say("{unit} to send 1,000 worms", unit=words.say("bits")) == "发送 1000 条虫子所需的比特"
    assert words.say("{unit} to send 1,000 worms", unit="bits") == "bits to send 1,000 worms"
    with pytest.raises(ValueError, match="one of en, zh"), speaking("fr"):
        pass


def test_the_figures_of_the_article_are_drawn_with_chinese_words():
    """No character is a box: matplotlib warns of a glyph that none of its fonts has."""
    try:
        style = plots.style("zh")
    except plots.languages.NoFontError as error:
        pytest.skip(str(error))
    with style, warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = figures.article_figures(article(), "bits")
    for picture in pictures:
        assert CJK.search(picture.title)
        assert CJK.search(picture.caption)
        assert len(CJK.findall(picture.svg)) > 5, picture.name
    assert not CJK.search(words.say("A histogram and cheaper stand-ins"))
