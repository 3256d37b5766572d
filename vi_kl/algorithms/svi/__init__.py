"""SVI: stochastic gradients of an objective, for any family.

`svi.py` is the algorithm and its settings. `step.py` is one chunk of steps, compiled; `schedule.py` decides, between
chunks, when to cut the step size and when to stop, and `cosine.py` does so for a fixed number of steps; `run.py` is one
fit in progress, `learning.py` its part that learns the model's own parameters, `many.py` runs many side by side, and
`checkpoint.py` writes the state of a run to disk, so that a fit that was killed can go on.
"""
