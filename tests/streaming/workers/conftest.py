"""Models that answer without weights, and spectra to ask them."""

import numpy as np

from nearedge.models import NormalisedSpectrum, Technique

# Source of a module that worker processes import: `inversion` is an answer that says nothing.
INVERSION = """
import numpy as np
from nearedge.models import Estimates, Inversion, Samples

def inversion(spectrum, *, model, samples, quality, seed):
    empty = np.zeros(samples)
    estimates = Estimates(cn_prob=np.array([0.0, 1.0]), cn_mean=1.0, cn_map=1, cn_set=(1,),
        bond=None, angle=None, bridge=None, sample_cn=np.ones(samples, int), sample_bond=empty,
        sample_angle=empty, rdf_r=empty, rdf={"O": empty})
    drawn = Samples(species=np.full((samples, 1), "O"), positions=np.zeros((samples, 1, 3), "f4"),
        weights=np.full(samples, 1 / samples))
    return Inversion(absorber=spectrum.absorber, edge=spectrum.edge, samples=drawn,
        estimates=estimates, grid=empty, condition=empty, ood_score=0.0, ood_flag=False,
        misfit=None, model=model, seed=seed, quality=quality, seconds=0.0)
"""


def spectrum(absorber: str = "Si") -> NormalisedSpectrum:
    x = np.linspace(0.0, 1.0, 5)
    return NormalisedSpectrum(
        energy=1840 + x,
        mu=x,
        norm=x,
        flat=x,
        e0=1840.5,
        edge_step=1.0,
        technique=Technique.XANES,
        absorber=absorber,
        edge="K",
    )
