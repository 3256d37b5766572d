"""The closed forms, grouped by support; importing this package registers them.

    real_line      Normal
    vector         MultivariateNormal, and Independent(Normal) as one
    positive       Gamma (and Chi2, a Gamma)
    simplex        Dirichlet; Beta, a Dirichlet of two
    count          Binomial and Bernoulli, by probabilities or logits
    categorical    Categorical, by probabilities or logits
    structure      Independent

Each is a sum of the terms in `divergences.bregman`, none of which is negative. To add one: write the form as
a function of the parameter arrays, decorate it with `in_wide_precision`, register it with `closed_form`, and
give the pair a truth in tests/divergences/truths/.
"""

from vi_kl.divergences.analytic import categorical, count, positive, real_line, simplex, structure, vector

__all__ = ["categorical", "count", "positive", "real_line", "simplex", "structure", "vector"]
