"""Every figure of the article, at the precision it is printed with."""

import pytest

from vi_kl.demo.worms.article import article


@pytest.fixture(scope="module")
def numbers():
    return article()


PRINTED = {
    "entropy of the observed distribution": "3.12",
    "KL(observed || uniform)": "0.338",
    "KL(observed || binomial), p = mean/10": "0.477",
    "KL(binomial || observed)": "0.330",
    "p that minimises KL(observed || binomial)": "0.57",
    "block model: best p": "0.47",
    "block model: its KL": "0.338",
}


@pytest.mark.landing
def test_all_of_them_are_there(numbers):
    assert {figure.what: figure.printed for figure in numbers.figures} == PRINTED


@pytest.mark.parametrize("what", PRINTED)
def test_figure(what, numbers):
    figure = next(figure for figure in numbers.figures if figure.what == what)
    assert f"{figure.computed:.{figure.decimals}f}" == PRINTED[figure.what]
    assert figure.agrees
