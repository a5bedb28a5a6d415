"""The covariance of both Gaussian-process regressions, of spectra and of clusters."""

import torch
from torch import Tensor


def matern(a: Tensor, b: Tensor, rate: Tensor) -> Tensor:
    """Return the Matérn 3/2 covariance between rows, (n, m); ``rate`` is √3 over its length."""
    far = rate * torch.cdist(a, b)
    return (1 + far) * torch.exp(-far)
