"""The commands ``nearedge dataset build``, ``pack`` and ``describe``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

dataset = typer.Typer(no_args_is_help=True, help="Make data sets of calculated spectra.")

Reserved = Annotated[
    Path | None,
    typer.Option(help="File of lines 'SPLIT FAMILY'; the split 'reserved' is left out."),
]
Without = Annotated[
    Path | None, typer.Option(help="File of formulas, one a line, whose structures are left out.")
]


@dataset.command()
def build(
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file to write.")],
    absorber: Annotated[
        list[str], typer.Option(help="Element whose sites become rows; repeat for several.")
    ],
    structures: Annotated[
        list[Path] | None,
        typer.Argument(help="CIF, POSCAR or extended XYZ files, or folders of such."),
    ] = None,
    amcsd: Annotated[
        bool, typer.Option("--amcsd", help="Take the ordered minerals of AMCSD (extra amcsd).")
    ] = False,
    among: Annotated[
        str | None,
        typer.Option(help="Of AMCSD take crystals of no other elements than these: 'O Ti'."),
    ] = None,
    edge: Annotated[str, typer.Option(help="Edge of the absorber: K, L3 …")] = "K",
    rattle: Annotated[
        list[float],
        typer.Option(help="Displacement in Å of one copy of every site; repeat for several."),
    ] = [0.0, 0.05, 0.1],  # noqa: B006
    strain: Annotated[float, typer.Option(help="Random strain of rattled copies.")] = 0.012,
    split: Annotated[
        str | None, typer.Option(help="Put every row into this split, whatever its family.")
    ] = None,
    reserved: Reserved = None,
    without: Without = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Calculate smaller clusters; copies reuse their site's potentials."
        ),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Number of FEFF processes at a time.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of displacements and strains.")] = 0,
) -> None:
    """Calculate the spectra of the sites of structures with FEFF10, from where it was stopped."""
    from nearedge.sim.amcsd import amcsd_structures
    from nearedge.sim.dataset import SiteChoice
    from nearedge.sim.dataset import build as run
    from nearedge.streaming.commands.options import elements_told
    from nearedge.streaming.commands.stopping import StopAsked, stop_raised
    from nearedge.streaming.workers.feff import require_feff

    require_feff()
    if not (structures or amcsd):
        raise typer.BadParameter("found no structures: name files or folders, or say --amcsd")
    only = elements_told(among, option="--among") if among else ()
    recipe = SiteChoice(
        absorbers=tuple(absorber),
        edge=edge,
        rattles=tuple(rattle),
        strain=strain,
        seed=seed,
        split=split,
        fast=fast,
    )
    try:
        with stop_raised(), _Bar() as bar:
            built = run(
                structures or [],
                out,
                recipe=recipe,
                more=amcsd_structures(absorber, among=only) if amcsd else (),
                reserved=reserved,
                without=without,
                workers=workers,
                progress=bar.tell,
            )
    except StopAsked as stop:
        finished = out.with_suffix(".jsonl")
        typer.echo(f"stopped: {finished} has what is done; the same command goes on", err=True)
        stop.end()
    typer.echo(f"{built.rows} rows in {built.dataset}; {built.failed} sites failed")
    if built.failed:
        typer.echo(f"their errors are in {built.lines}")


@dataset.command()
def pack(
    lines: Annotated[list[Path], typer.Argument(help="The .jsonl files of builds.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file to write.")],
    beyond: Annotated[
        list[Path] | None, typer.Option(help="An earlier part; repeat for several.")
    ] = None,
    reserved: Reserved = None,
    without: Without = None,
) -> None:
    """Write what builds have calculated beyond earlier parts as a new part."""
    from nearedge.sim.packing import pack as write

    packed = write(lines, out, beyond=beyond or (), reserved=reserved, without=without)
    typer.echo(
        f"{packed.rows} rows in {out}; left out: {packed.failed} failed, "
        f"{packed.reserved} reserved, {packed.known} in earlier parts"
    )


@dataset.command()
def describe(
    paths: Annotated[list[Path], typer.Argument(help="Parquet files of calculated spectra.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the sites, families and coordination numbers that a data set holds in each split."""
    import json

    from nearedge.models.data.dataset import describe as describe_sites
    from nearedge.models.data.dataset import read_dataset

    found = describe_sites(read_dataset(paths))
    typer.echo(json.dumps(found, indent=1) if as_json else _text(found))


def _text(found: dict[str, dict[str, object]]) -> str:
    lines = []
    for split, entries in found.items():
        lines.append(split)
        lines += [f"  {name:12} {_words(value)}" for name, value in entries.items()]
    return "\n".join(lines)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {number}" for name, number in value.items())
    return str(value)


class _Bar:
    """A progress bar on standard error, off where that is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        console = Console(stderr=True)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("sites", total=None)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: Sequence[object]) -> None:
        self._progress.stop()

    def tell(self, done: int, failed: int, total: int) -> None:
        """Show how many sites are done, how many of them failed, and how many there are."""
        label = f"sites ({failed} failed)" if failed else "sites"
        self._progress.update(self._task, completed=done, total=total, description=label)
