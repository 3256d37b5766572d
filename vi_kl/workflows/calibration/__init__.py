"""Calibration: whether a fitting procedure is right on average over data that the model itself simulates.

`calibrate(model, *args, observed="y", key=key)` draws parameters and data from the model many times, fits each data
set, and asks where the true parameters lie among the draws of each q: uniformly everywhere if q is the posterior. A
certificate (`vi_kl.check`) judges one fit to one data set; a `Calibration` judges the procedure, needs no truth but
the simulated one, and says for each parameter in which direction it errs.
"""

from vi_kl.workflows.calibration.calibrate import calibrate
from vi_kl.workflows.calibration.calibration import Calibration

__all__ = ["Calibration", "calibrate"]
