"""Where tensors live: the CPU, or a GPU where there is one."""

import torch

CPU = torch.device("cpu")


def choose_device(device: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)
