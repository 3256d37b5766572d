"""NumPyro models, ready as targets, with what is known exactly about each.

Each model is a plain NumPyro function, and each has a function that makes the target. `conjugate` holds models
with a closed form, `textbook` the classics (a funnel, the eight schools, mixtures, series, ...).
`posteriordb` holds 26 real posteriors with reference draws; their data are read from a copy of that database.
`catalogue` lists them all by name, with what is hard about each.
"""
