"""A network on its way down: its optimiser, its schedule and the average of its weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Net = TypeVar("Net", bound=nn.Module)

#: The largest norm of a gradient; longer ones are cut.
CLIP = 1.0
BETAS = (0.9, 0.98)


@dataclass(slots=True, eq=False)
class Descent(Generic[Net]):
    """The part of a training that every network has: it steps, and its state can be saved.

    Attributes
    ----------
    model
        The network.
    averaged
        The exponential average of its weights.
    optimiser, schedule
        AdamW, and how its rate changes with the step.
    step
        How many steps are made.
    """

    model: Net
    averaged: AveragedModel
    optimiser: torch.optim.AdamW
    schedule: torch.optim.lr_scheduler.LambdaLR
    step: int = 0

    @classmethod
    def start(
        cls, model: Net, *, rate: float, decay: float, ema: float, schedule: Callable[[int], float]
    ) -> "Descent[Net]":
        """Begin at step 0.

        Parameters
        ----------
        model
            The network, on the device where it trains.
        rate, decay
            The rate and the weight decay of AdamW.
        ema
            The share of the average that one step keeps.
        schedule
            What each step's rate is multiplied by.
        """
        optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, betas=BETAS)
        average = get_ema_multi_avg_fn(ema)  # type: ignore[no-untyped-call]
        return cls(
            model=model,
            averaged=AveragedModel(model, multi_avg_fn=average),
            optimiser=optimiser,
            schedule=torch.optim.lr_scheduler.LambdaLR(optimiser, schedule),
        )

    def descend(self, loss: Tensor) -> float:
        """Make one step down a loss, and return the loss."""
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimiser.step()
        self.schedule.step()
        self.averaged.update_parameters(self.model)
        self.step += 1
        return float(loss.detach())

    def average(self) -> Net:
        """Return the network with averaged weights, in evaluation mode."""
        return cast("Net", self.averaged.module).eval()

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.step = int(state["step"])
        for name in ("model", "averaged", "optimiser", "schedule"):
            getattr(self, name).load_state_dict(state[name])
