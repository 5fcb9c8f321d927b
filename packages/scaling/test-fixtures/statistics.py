"""Prints statistics.json: the numbers packages/scaling is compared with, from statsmodels and scipy.

python3 -m venv v && v/bin/pip install statsmodels==0.15.0 && v/bin/python statistics.py > statistics.json
"""

import json
import sys

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import stats

rng = np.random.default_rng(5)


def fit(variables, values, weights, at, names):
    """A power law by OLS or WLS of the logarithms, with its intervals and predictions."""
    design = sm.add_constant(np.log(variables))
    model = sm.OLS(np.log(values), design) if weights is None else sm.WLS(np.log(values), design, weights=weights)
    result = model.fit()
    frame = result.get_prediction(sm.add_constant(np.log(at), has_constant="add")).summary_frame(alpha=0.05)
    points = [
        dict(zip(names, map(float, row)), value=float(value), **({} if weights is None else {"weight": float(weight)}))
        for row, value, weight in zip(variables, values, values if weights is None else weights)
    ]
    predictions = [
        dict(at=dict(zip(names, map(float, row))), log=float(mean), low=float(low), high=float(high))
        for row, mean, low, high in zip(at, frame["mean"], frame["obs_ci_lower"], frame["obs_ci_upper"])
    ]
    return dict(
        points=points,
        coefficients=result.params.tolist(),
        standardErrors=result.bse.tolist(),
        intervals=result.conf_int(0.05).tolist(),
        residualVariance=float(result.scale),
        rSquared=float(result.rsquared),
        degreesOfFreedom=int(result.df_resid),
        predictions=predictions,
    )


def mm1(params):
    return np.exp(-0.4214 * np.log(params) - 0.5535)


def parabola(rates, losses):
    """The lowest point of a parabola in ln rate, its standard error by the delta method."""
    offset = np.log(rates) - np.log(rates[2])
    result = sm.OLS(losses, np.column_stack([np.ones(len(rates)), offset, offset**2])).fit()
    a, b, c = result.params
    gradient = np.array([0, -1 / (2 * c), b / (2 * c * c)])
    error = float(np.sqrt(gradient @ result.cov_params() @ gradient))
    log = np.log(rates[2]) - b / (2 * c)
    reach = stats.t.ppf(0.975, len(rates) - 3) * error
    return dict(
        learningRates=rates.tolist(),
        losses=losses.tolist(),
        value=float(np.exp(log)),
        standardError=error,
        interval=[float(np.exp(log - reach)), float(np.exp(log + reach))],
        loss=float(a - b * b / (4 * c)),
        curvature=float(2 * c),
    )


four = np.array([[9e6], [85e6], [302e6], [1.2e9]])
seven = np.array([[1e6], [3e6], [9e6], [25e6], [85e6], [302e6], [1.2e9]])
larger = np.array([[2.9e9], [30e9]])
both = np.array([[n, d] for n in (6e7, 2.1e8, 4.3e8, 1.07e9) for d in (2e9, 2e10, 1e11)])
step_law = 1.79 * both[:, 0] ** -0.713 * both[:, 1] ** 0.307

content = dict(
    source=f"statsmodels {statsmodels.__version__} (OLS, WLS, get_prediction), scipy {scipy.__version__} (stats.t.ppf), "
    f"numpy {np.__version__}; points seeded by numpy.random.default_rng(5)",
    fourScales=fit(four, mm1(four[:, 0]) * np.exp(rng.normal(0, 0.05, 4)), None, larger, ["params"]),
    weighted=fit(
        seven, mm1(seven[:, 0]) * np.exp(rng.normal(0, 0.2, 7)), np.array([1, 0.5, 4, 2, 9, 0.25, 3.0]), larger, ["params"]
    ),
    twoVariables=fit(
        both, step_law * np.exp(rng.normal(0, 0.1, 12)), None, np.array([[7e9, 1e12], [3e8, 5e9]]), ["params", "tokens"]
    ),
    parabola=parabola(np.array([1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2]), np.array([2.31, 2.172, 2.118, 2.149, 2.297])),
    studentT=[
        dict(level=level, degreesOfFreedom=freedom, t=float(stats.t.ppf((1 + level) / 2, freedom)))
        for level in (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
        for freedom in (1, 2, 3, 4, 5, 10, 29, 30, 101, 1000)
    ],
)
json.dump(content, sys.stdout, indent=1)
print()
