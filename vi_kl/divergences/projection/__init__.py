"""Projection: the member of a family nearest to p.

families   the families known by their NumPyro class, and the condition for the nearest member
moments    the sources of p's moments: formulas, a mixture's components, weighted points
nodes      a distribution of one number as fixed weighted points
matching   forward onto an exponential family: the member with p's moments, exactly
members    everything else: a deterministic divergence, and descents from several starts
by_class   the choice between the two, and the result
descent    the minimum downhill of a start, and a sentence on what was found
"""
