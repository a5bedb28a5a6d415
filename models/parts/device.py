"""Where tensors live: the CPU, or a GPU where there is one."""

import torch

CPU = torch.device("cpu")


def choose_device(device: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def brief_products() -> torch.autocast:
    """Return a context in which the CPU's matrix products lose digits, where that is quicker.

    A processor without instructions for bfloat16 takes several times as long with it.
    """
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.autocast("cpu", torch.bfloat16, enabled=bool(known.get("avx512_bf16")))
