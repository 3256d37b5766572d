"""SVI: stochastic gradients of an objective, for any family.

`svi.py` is the algorithm and its settings. `step.py` is one chunk of steps, compiled; `schedule.py` decides, between
chunks, when to cut the step size and when to stop; `run.py` is one fit under way, `many.py` many side by side, and
`checkpoint.py` what of a run is written to disk, so that a killed one goes on where it was.
"""
