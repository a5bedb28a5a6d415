from dataclasses import replace

import numpy as np

from nearedge.models.training import surrogates

GRID = np.arange(-10.0, 60.01, 0.5)


def test_error_is_measured_on_left_out_families(ringing_sites, wiggling):
    positions, _, values = wiggling(40, seed=5, grid=GRID)
    sites = [
        replace(site, species=np.array(["O"] * 4), positions=places.numpy())
        for site, places in zip(ringing_sites, positions, strict=True)
    ]
    found = surrogates.cross_validate(sites, values, np.arange(40) % 4, atoms=4, vocabulary=("O",))
    assert found.error < 0.2 * found.scatter
    assert 0 < found.calibration < 3
