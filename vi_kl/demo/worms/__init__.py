"""The worm-teeth story, from end to end: what `vi-kl worms` runs.

data      the teeth of 1,000 worms from a far planet
article   the numbers of the article that the story comes from
models    five Bayesian models of them
fits      the fits to these models
figures   the figures of both halves
run       everything in order, printed, and written as a report
"""
