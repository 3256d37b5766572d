"""The member of a family nearest to p: what `project` is made of.

families   the families known by their NumPyro class, and what makes a member of each nearest
moments    where p's moments come from: formulas, a mixture's components, weighted points
nodes      a distribution of one number as fixed weighted points
matching   forward onto an exponential family: the member with p's moments, exactly
members    everything else: a deterministic divergence, and descents from several starts
by_class   which of the two, and what comes out
descent    the minimum downhill of a start, and a sentence on what was found
"""
