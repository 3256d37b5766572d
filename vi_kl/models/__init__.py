"""NumPyro models, ready as targets, with what is known exactly about each.

`worms` holds the five models of the worm teeth, from one parameter with a closed form to a mixture with two
symmetric modes. Each model is a plain NumPyro function; each has a function that makes the target.
`posteriordb` holds 26 real posteriors with reference draws; their data are read from a copy of that database.
"""
