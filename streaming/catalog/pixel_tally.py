"""How far a map is: which of its pixels have come, and what is said of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.models.answering.pixels import NUMBERS
from nearedge.streaming.catalog.maps import NOTHING, flag_counts, value_range


class PixelTally:
    """What is known of each pixel of a map, in the order in which they lie.

    Parameters
    ----------
    count
        Pixels that there is room for.
    """

    def __init__(self, count: int) -> None:
        self._reason = np.empty(0, np.int16)
        self._bits = np.empty(0, np.uint64)
        self._cn, self._bond = np.empty(0), np.empty(0)
        self.grow(count)

    def grow(self, count: int) -> None:
        """Make room for so many pixels; there is never less than before."""
        more = max(0, count - len(self._reason))
        self._reason = np.append(self._reason, np.full(more, NOTHING, np.int16))
        self._bits = np.append(self._bits, np.zeros(more, np.uint64))
        self._cn = np.append(self._cn, np.full(more, np.nan))
        self._bond = np.append(self._bond, np.full(more, np.nan))

    def put(
        self,
        places: NDArray[np.int64] | slice,
        *,
        reasons: NDArray[np.int16],
        bits: NDArray[np.uint64],
        figures: NDArray[np.float64],
    ) -> None:
        """Note what is said of some pixels.

        Parameters
        ----------
        places
            Which.
        reasons
            (p,) numbers of the reasons; -1 where there is an answer.
        bits
            (p,) flags.
        figures
            (p, k) the `NUMBERS`.
        """
        self._reason[places], self._bits[places] = reasons, bits
        self._cn[places] = figures[:, NUMBERS.index("cn_mean")]
        self._bond[places] = figures[:, NUMBERS.index("bond")]

    def all_answered(self, places: NDArray[np.int64]) -> bool:
        """Tell whether each of some pixels has its answer."""
        return bool((self._reason[places] == -1).all())

    def missing(self, pixels: int) -> NDArray[np.int64]:
        """Return which of the first so many pixels have not come."""
        return np.flatnonzero(self._reason[:pixels] == NOTHING)

    def answered(self, pixels: int) -> int:
        """Return how many of the first so many pixels have an answer."""
        return int((self._reason[:pixels] == -1).sum())

    def come(self, pixels: int) -> int:
        """Return how many of the first so many pixels have an answer or a reason."""
        return int((self._reason[:pixels] > NOTHING).sum())

    def progress(
        self, pixels: int, *, reasons: Sequence[str], flags: Sequence[str]
    ) -> dict[str, Any]:
        """Return the searchable part of it, for the first so many pixels and the names so far."""
        reason, bits = self._reason[:pixels], self._bits[:pixels]
        refused = {name: int((reason == k).sum()) for k, name in enumerate(reasons)}
        marked = flag_counts(bits, flags)
        return {
            "pixels": pixels,
            "answered": self.answered(pixels),
            "come": self.come(pixels),
            "rejected": {name: count for name, count in refused.items() if count},
            "flags": {name: count for name, count in marked.items() if count},
            "reasons": list(reasons),
            "flag_names": list(flags),
            "cn": value_range(self._cn[:pixels]),
            "bond": value_range(self._bond[:pixels]),
        }
