"""Options that several commands share."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from nearedge.streaming.settings.profile import Profile

Configs: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "-c",
        "--config",
        help="Shipped profile or YAML file. Repeat it to layer several; the last one wins.",
        show_default=False,
    ),
]
Device: TypeAlias = Annotated[
    str | None, typer.Option(help="Use auto, cpu, cuda or cuda:N instead of the profile's device.")
]
Samples: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Number of clusters to draw per spectrum, instead of the profile's."),
]
Elements: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Formula of the sample or the elements in it: Fe2O3, or 'Fe O'."),
]


def profile_of(
    configs: Sequence[str] | None,
    *,
    device: str | None = None,
    samples: int | None = None,
    elements: str | None = None,
) -> "Profile":
    """Return the layered profile with a command's own options on top.

    Raises
    ------
    ConfigError
        If a file is missing or a key is unknown.
    """
    from nearedge.streaming.settings.configuration import load_profile

    profile = load_profile(tuple(configs or ()), environ=os.environ)
    changes = {"device": device, "samples": samples}
    worker = profile.worker.model_copy(
        update={name: value for name, value in changes.items() if value is not None}
    )
    instrument = profile.instrument
    if elements is not None:
        elements_told(elements)
        instrument = instrument.model_copy(update={"composition": elements})
    return profile.model_copy(update={"worker": worker, "instrument": instrument})


def one_thread() -> None:
    """Have numpy calculate with one thread, unless the environment says otherwise.

    The matrices of maps are so small that waiting for a second thread costs more than it gains:
    five times as much where other processes want the cores. It counts only before numpy is there.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def elements_told(text: str, *, option: str = "--elements") -> tuple[str, ...]:
    """Return the elements in a formula, or refuse at once what is none: it can be corrected."""
    from nearedge.models.composition import CompositionError, elements_in

    try:
        return elements_in(text)
    except CompositionError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
