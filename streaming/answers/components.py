"""The components of a series in words and as JSON: the command line and the page tell the same."""

from nearedge.models.comparing.series import Analysis
from nearedge.streaming.answers.plain import plain
from nearedge.streaming.answers.summary import Json


def components_text(found: Analysis) -> str:
    """Return how many components a series has, in words."""
    return (
        f"components besides the mean: {found.components.rank} by the threshold of noise, "
        f"{found.indicated} by the indicator function"
    )


def told_components(found: Analysis) -> Json:
    """Return everything on the components of a series but its spectra."""
    own = found.components
    return plain(
        {
            "rank": own.rank,
            "indicated": found.indicated,
            "threshold": own.threshold,
            "strengths": own.strengths,
            "shares": found.shares,
            "indicator": found.indicator,
            "energy": found.energy,
            "mean": own.mean,
            "vectors": own.vectors,
            "scores": own.scores(found.flat),
        }
    )
