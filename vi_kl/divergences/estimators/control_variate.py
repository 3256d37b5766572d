"""A control variate for log p/q that is bounded, so that its gain is safe whatever p and q are.

The ratio q/p has mean 1 under p, and is nearly -log p/q + 1 where p and q nearly agree: subtracting it removes most
of the noise (the estimator k3 is log p/q + q/p - 1). But where q is wide its variance is infinite, or finite with
infinite higher moments, and then neither the mean nor the error of k3 is reliable, and k-hat may not show this from a
thousand draws. So the ratio is capped:

    min(q/p, CAP) under p  has the mean of  min(1, CAP p/q) under q

whatever p and q are, and both are bounded. What the cap removes is estimated from draws of q. The two agree with k3
where no ratio exceeds CAP, and their error stays honest where many do.
"""

import math

import numpy as np

CAP = 2.0


def capped_ratio(log_ratio: np.ndarray) -> np.ndarray:
    """Return min(q/p, CAP) - 1 from log p/q, at draws from p; every digit is kept where q/p is near 1."""
    return np.expm1(np.minimum(-log_ratio, math.log(CAP)))


def shortfall(log_ratio: np.ndarray) -> np.ndarray:
    """Return min(1, CAP p/q) - 1 from log p/q, at draws from q.

    Its mean is that of `capped_ratio` at draws from p.
    """
    return np.expm1(np.minimum(0.0, log_ratio + math.log(CAP)))


def controlled_mean(values: np.ndarray, control: np.ndarray, counterpart: np.ndarray) -> tuple[float, float]:
    """Return the mean of `values` by regression on a control, and its standard error.

    The control's mean is that of `counterpart`.

    Args:
        values, control: arrays at the same draws, of shape (n,).
        counterpart: an array at other draws, independent of those, of shape (m,); zeros if the control's mean is known
            to be 0.

    Each half of the draws uses the slope fitted to the other half: its own slope would shrink the residuals, bias the
    mean, and make the error too small. Reference: Owen (2013), "Monte Carlo theory, methods and examples", 8.9.
    """
    halves = list(zip(*(np.array_split(x, 2) for x in (values, control, counterpart)), strict=True))
    slopes = [best_slope(*half) for half in reversed(halves)]
    residuals = np.concatenate([v - b * c for (v, c, _), b in zip(halves, slopes, strict=True)])
    returned = np.concatenate([b * other for (_, _, other), b in zip(halves, slopes, strict=True)])
    variance = residuals.var(ddof=2) / len(residuals) + returned.var(ddof=1) / len(returned)
    return residuals.mean() + returned.mean(), math.sqrt(variance)


def best_slope(values, control, counterpart) -> float:
    """Return the slope of least variance, with the noise of the counterpart's mean.

    It is 0 if the control is constant.
    """
    centred = control - control.mean()
    spread = centred @ centred / len(control) + counterpart.var() * len(control) / len(counterpart)
    return float(centred @ values / len(control) / spread) if spread > 0 else 0.0
