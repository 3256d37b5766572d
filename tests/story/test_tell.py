"""The whole story, run once: what the issue of truth demands of every fit in it, and the folder it writes."""

import json
import math

import jax
import pytest

from vi_kl.story.posteriors import CHAPTERS, tell_chapter

pytestmark = pytest.mark.slow
ALLOWED = {"beta_guide": 1e-4, "dirichlet_guide": 1e-4}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_every_fit_of_the_story(chapter):
    told = tell_chapter(chapter, jax.random.key(1))
    assert not told.comparison.failures
    for fit, certificate in zip(told.comparison.fits, told.comparison.certificates, strict=True):
        assert certificate.ways_agree, (certificate.name, str(certificate.gap), str(certificate.integrated))
        if certificate.name in ALLOWED:
            assert certificate.integrated.method == "closed form"
            assert certificate.reverse_kl.value < ALLOWED[certificate.name]
            assert fit.status.converged
        if chapter.name == "two_kinds" and certificate.name in ("full_rank", "laplace", "flow"):
            assert abs(certificate.reverse_kl.value - math.log(2)) < 0.02
            assert 0.45 < certificate.coverage < 0.55
    if chapter.name == "two_kinds":
        matched = {c.name: c for c in told.comparison.certificates}["moment_matching"]
        assert matched.coverage > 0.95
        assert matched.reverse_kl.value > 50
    frame = told.comparison.to_dataframe("bits")
    assert list(frame["ELBO [bits]"]) == sorted(frame["ELBO [bits]"], reverse=True)
    assert json.dumps([c.to_dict() for c in told.comparison.certificates])
