"""Fit where PPO wins and where DPO wins: by labels, share of flips and origin of the pairs."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis import statistics as st
from bench.analysis.results import Results, once
from bench.studies.claims import units
from bench.studies.claims.cells import CELLS, FLIPS, SHARES, Cell
from bench.studies.claims.effects import paired

TERMS = ("1", "labels", "flips", "foreign", "labels x flips", "labels x foreign", "flips x foreign")


@once
def cells(results: Results) -> pd.DataFrame:
    """Return a row for each cell and SFT base: share, flip, origin, and PPO's gain minus DPO's."""
    rows = []
    for cell in CELLS:
        ppo, dpo = (units.gains(results, f"{m}{cell.ending}") for m in ("ppo", "dpo"))
        if ppo.size and dpo.size:
            gap = paired(ppo, dpo).mean(axis=1)
            rows += [{**vars(cell), "base": base, "gap": value} for base, value in gap.items()]
    return pd.DataFrame(rows, columns=["share", "flip", "origin", "base", "gap"])


@dataclass(frozen=True)
class Fit:
    """A linear model of PPO's lead over DPO, by least squares, with a level for each SFT base.

    coefficients, covariance: of TERMS, the level's with its variation between SFT bases; df:
    degrees of freedom; left_out: the root mean square error of a cell that the fit has not seen;
    noise: the standard deviation of the residuals.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    df: int
    left_out: float
    noise: float

    def lead(self, share, flip, foreign) -> tuple[np.ndarray, np.ndarray]:
        """Return PPO's lead over DPO, and half its 95 % interval, at points of the map."""
        x = terms(share, flip, foreign)
        half = stats.t.ppf((1 + st.LEVEL) / 2, self.df) * np.sqrt(
            np.einsum("...i,ij,...j->...", x, self.covariance, x)
        )
        return x @ self.coefficients, half


def terms(share, flip, foreign) -> np.ndarray:
    """Return TERMS at points [..., 7]; labels: log2 of the share of all labels, 0 for all."""
    labels, flips = -np.log2(np.asarray(share, float)), np.asarray(flip, float) / 100
    foreign = np.broadcast_to(np.asarray(foreign, float), np.broadcast(labels, flips).shape)
    columns = [np.ones_like(foreign), labels, flips, foreign,
               labels * flips, labels * foreign, flips * foreign]  # fmt: skip
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


@once
def fitted(results: Results) -> Fit | None:
    """Return the fit over all cells; None if a cell has no runs."""
    rows = cells(results)
    if len(rows.groupby(["share", "flip", "origin"])) < len(CELLS):
        return None
    coefficients, covariance, noise, df = _least_squares(rows)
    errors = []
    for _, cell in rows.groupby(["share", "flip", "origin"]):
        seen = rows.drop(cell.index)
        own = _least_squares(seen)[0]
        guess = terms(cell["share"], cell.flip, cell.origin != "own") @ own
        errors.append(cell.gap.mean() - guess.mean())
    return Fit(coefficients, covariance, df, float(np.sqrt(np.mean(np.square(errors)))), noise)


def _least_squares(rows: pd.DataFrame):
    """Fit TERMS and a level for each SFT base, whose levels sum to 0; return the first four fields
    of a Fit but `left_out`. Each cell weighs the same, however many bases it has."""
    x = terms(rows["share"], rows.flip, rows.origin != "own")
    bases = pd.get_dummies(rows.base).to_numpy(float)
    whole = np.hstack([x, bases[:, 1:] - bases[:, :1]])
    many = rows.groupby(["share", "flip", "origin"]).gap.transform("size").to_numpy()
    root = np.sqrt(1 / many * many.mean())[:, None]
    inverse = np.linalg.pinv(whole * root)
    found = inverse @ (rows.gap.to_numpy() * root[:, 0])
    residuals = rows.gap.to_numpy() - whole @ found
    df = max(1, len(rows) - np.linalg.matrix_rank(whole))
    own = inverse * root[:, 0]  # how much each run moves each coefficient
    variance = (residuals**2).sum() / df
    covariance = variance * own @ own.T
    n = x.shape[1]
    levels = np.append(found[n:], -found[n:].sum())
    if len(levels) > 1:  # other SFT bases would have other levels, which few bases tell roughly
        covariance[0, 0] += levels.var(ddof=1) / len(levels)
        df = min(df, len(levels) - 1)
    return found[:n], covariance[:n, :n], float(np.sqrt(variance)), df


def winner(results: Results, cell: Cell) -> str | None:
    """Return the method that the fit says is ahead in a cell; None where nobody can tell."""
    fit = fitted(results)
    lead, half = fit.lead(cell.share, cell.flip, cell.origin != "own")
    if abs(float(lead)) <= float(half):
        return None
    return "ppo" if lead > 0 else "dpo"


def predicted(results: Results) -> float | None:
    """Return the effective labels, as a share of all, at which neither method leads if only the
    information in the labels counts; None if they never are equal within the map.

    n labels of which a share e is turned round inform like n (1 - 2e)^2 (the variance of a mean of
    signs): where that is equal, so would the lead be. The fit without flips says at which.
    """
    fit = fitted(results)
    shares = np.geomspace(max(SHARES), 1, 200)
    lead, _ = fit.lead(shares, 0, False)
    change = np.flatnonzero(np.diff(np.sign(lead)))
    return float(1 / shares[change[0]]) if len(change) else None


def informed(effective: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (share of labels, flips) of points with as many effective labels."""
    flips = np.linspace(0, max(FLIPS), 60)
    return effective / (1 - flips / 50) ** 2, flips
