"""The divergences other than KL: Jensen-Shannon, total variation, Hellinger, chi-squared, Renyi, alpha.

f_divergence          the functions; exact, or NoClosedForm
estimation            estimates by the best method there is, with errors; sampling: the draws
generators            the contribution of one point to each of them
finite                sums over pmfs
power_divergence      those that are an integral of p^a q^(1 - a): in exponential families they follow from KL
exponential_family    the idea of that; exponential_families the families, exponential_members NumPyro's classes
overlap               total variation and Jensen-Shannon where they have simple forms
"""
