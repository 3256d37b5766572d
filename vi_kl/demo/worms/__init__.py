"""The worm-teeth story, from end to end: what `vi-kl worms` runs.

data      the teeth of 1,000 worms from a far planet
article   the numbers of the article that the story comes from
models    five Bayesian models of them
fits      the same idea carried to these models
figures   what is drawn of both
run       everything in order, printed, and written as a report
"""
