import numpy as np
import pytest

from nearedge.models import NormalisedSpectrum, Technique


@pytest.fixture(scope="session")
def whole():
    """A whole scan of an edge of silicon without any structure."""
    grid = np.arange(-10.0, 60.5, 0.5)
    step = 0.5 + np.arctan(grid / 0.5) / np.pi
    return NormalisedSpectrum(
        energy=grid,
        mu=step,
        norm=step,
        flat=step,
        e0=0.0,
        edge_step=1.0,
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
    )
