"""The worm-teeth story, told from end to end: what `vi-kl worms` runs.

`article` computes the numbers of the article the story comes from; `posteriors` carries the same idea to five
Bayesian models; `figures` draws both; `tell` runs everything in order, prints it and writes the report.
"""
