"""Every figure of the article, at the precision it is printed with."""

import pytest

from vi_kl.demo.worms.article import article

NUMBERS = article()
PRINTED = {
    "entropy of the observed distribution": "3.12",
    "KL(observed || uniform)": "0.338",
    "KL(observed || binomial), p = mean/10": "0.477",
    "KL(binomial || observed)": "0.330",
    "p that minimises KL(observed || binomial)": "0.57",
    "block model: best p": "0.47",
    "block model: its KL": "0.338",
}


def test_all_of_them_are_there():
    assert {figure.what: figure.printed for figure in NUMBERS.figures} == PRINTED


@pytest.mark.parametrize("figure", NUMBERS.figures, ids=lambda figure: figure.what)
def test_figure(figure):
    assert f"{figure.computed:.{figure.decimals}f}" == PRINTED[figure.what]
    assert figure.agrees
