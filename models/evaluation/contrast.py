"""By how much one method differs from another on the same spectra, and how sure that is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nearedge.models.evaluation.figures import Score

#: What the model is to be better at than its baselines, and which way is better.
COMPARED = {"cn_error": -1, "bond_mae": -1, "angle_mae": -1, "rdf_overlap": 1}
#: Standard errors beyond which a difference counts as one.
SURE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The mean difference of a figure between two methods.

    Attributes
    ----------
    rows
        How many spectra both methods have the figure of.
    gain
        How much better the first method is, in the figure's own units.
    error
        Standard error of it, as though the rows were independent.
    """

    rows: int
    gain: float
    error: float

    @property
    def verdict(self) -> int:
        """1 where the first method is better for sure, -1 where the second is, 0 else."""
        return int(np.sign(self.gain)) if abs(self.gain) > SURE * self.error else 0


def contrast(mine: Mapping[str, Score], other: Mapping[str, Score], figure: str) -> Contrast | None:
    """Compare two methods spectrum by spectrum; None where fewer than two can be compared.

    Parameters
    ----------
    mine, other
        Scores of both methods by spectrum.
    figure
        One of `COMPARED`.
    """
    both = [key for key in mine if key in other and mine[key].cn_true > 0]
    apart = np.array([getattr(mine[k], figure) - getattr(other[k], figure) for k in both])
    apart = COMPARED[figure] * apart[~np.isnan(apart)]
    if len(apart) < 2:
        return None
    error = float(apart.std(ddof=1) / np.sqrt(len(apart)))
    return Contrast(rows=len(apart), gain=float(apart.mean()), error=error)
