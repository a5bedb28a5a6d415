"""The commands of the simulator: demo and simulate."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearedge.streaming.commands.options import Configs, Device, Samples, one_thread, profile_of

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from rich.console import Console

    from nearedge.sim.silica import Specimen
    from nearedge.streaming.commands.starting import Starting
    from nearedge.streaming.settings.profile import Profile

Scans = Annotated[
    int | None, typer.Option(min=1, help="Number of scans to measure, instead of the profile's.")
]
Keep = Annotated[
    Path | None,
    typer.Option(help="Keep catalog, ledger, a profile for replay and a picture in this folder."),
]

PLAIN_WIDTH = 120  # columns of the summary where there is no terminal


def demo(
    config: Configs = None,
    keep: Keep = None,
    scans: Scans = None,
    samples: Samples = None,
    device: Device = None,
    stay: Annotated[
        bool, typer.Option(help="Keep the live page open after the last result, until Ctrl-C.")
    ] = False,
    map_: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Simulate a map in a file instead: eels (a grain boundary), xanes (a stack of "
            "images) or quick (a series of sweeps).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Simulate a beamline, invert its spectra live, and compare the results with the truth.

    Exits with 0 only if every spectrum got a complete result.
    """
    import tempfile

    if map_ is not None:
        raise typer.Exit(0 if _map_demo(map_, keep, samples=samples, device=device) else 1)
    profile = simulated(config, scans=scans, samples=samples, device=device)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        good = run_and_report(profile, keep.resolve(), kept=True, stay=stay)
    else:
        with tempfile.TemporaryDirectory(prefix="nearedge-", ignore_cleanup_errors=True) as folder:
            good = run_and_report(profile, Path(folder), kept=False, stay=stay)
    raise typer.Exit(0 if good else 1)


def _map_demo(kind: str, keep: Path | None, *, samples: int | None, device: str | None) -> bool:
    """Run the demo of a map, and return whether it was good."""
    import tempfile

    one_thread()
    from nearedge.sim.map_demo import run_map_demo
    from nearedge.sim.maps import KINDS

    if kind not in KINDS:
        raise typer.BadParameter(f"found {kind!r}; expected {', '.join(KINDS)}", param_hint="--map")
    profile = simulated(None, samples=samples, device=device)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        good = run_map_demo(kind, profile, keep, typer.echo).good
        typer.echo(f"kept in {keep}")
        return good
    with tempfile.TemporaryDirectory(prefix="nearedge-") as folder:
        return run_map_demo(kind, profile, Path(folder), typer.echo).good


def run_and_report(profile: "Profile", directory: Path, *, kept: bool, stay: bool = False) -> bool:
    """Run a demo, print its summary, and return whether it was good."""
    from rich.console import Console

    from nearedge.streaming.commands.starting import starting

    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    say = partial(console.print, highlight=False, soft_wrap=True)
    with starting(profile.service.page_port, say) as tell:
        if profile.instrument.finish.when == "pixel":
            return _live_map(profile, directory, console, tell, kept=kept, stay=stay)
        from nearedge.sim.demo import keep_files, print_report, run_demo

        report = run_demo(profile, directory, console, tell, stay=stay)
    print_report(report, console)
    if kept:
        keep_files(report, directory)
        console.print(f"kept in {directory}; to replay: ", end="", highlight=False)
        console.print(f"nearedge replay -c {directory / 'profile.yaml'}", soft_wrap=True)
    return report.good


def _live_map(
    profile: "Profile",
    directory: Path,
    console: "Console",
    tell: "Starting",
    *,
    kept: bool,
    stay: bool,
) -> bool:
    """Run the demo of a map that is answered while it is measured."""
    from nearedge.sim.live_map_demo import print_map_report, run_live_map_demo
    from nearedge.sim.map_beamline import KIND_OF_MODE

    if profile.simulator.mode not in KIND_OF_MODE:
        raise typer.BadParameter(
            f"found simulator.mode {profile.simulator.mode} with finish.when: pixel; expected one "
            f"of {', '.join(KIND_OF_MODE)}",
            param_hint="--config",
        )
    report = run_live_map_demo(profile, directory, console, tell, stay=stay)
    print_map_report(report, console)
    if kept:
        settings = yaml_of(report.profile)
        (directory / "profile.yaml").write_text(settings)
        console.print(f"kept in {directory}; to read the map: ", end="", highlight=False)
        console.print(f'opened_maps("{directory / "profile.yaml"}")', soft_wrap=True)
    return report.good


def yaml_of(profile: "Profile") -> str:
    """Return a profile as YAML."""
    import yaml

    text: str = yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False)
    return text


def simulate(
    config: Configs = None,
    scans: Scans = None,
    cif: Annotated[
        Path | None,
        typer.Option(
            help="Measure this structure (CIF) instead of silica. This needs the extra feff."
        ),
    ] = None,
    site: Annotated[
        int,
        typer.Option(
            min=0, help="Number of the absorbing site, among the inequivalent ones, from 0."
        ),
    ] = 0,
) -> None:
    """Run the simulated beamline alone. It publishes to the profile's simulator.publish."""
    from nearedge.sim.beamline import run_beamline

    profile = simulated(config, scans=scans)
    specimen = None if cif is None else calculated(cif, profile, site=site)
    uids = run_beamline(
        profile,
        specimen=specimen,
        directory=frames_folder(profile),
        watch=tell,
    )
    typer.echo(f"{len(uids)} runs measured")


def simulated(
    config: list[str] | None,
    *,
    scans: int | None = None,
    samples: int | None = None,
    device: str | None = None,
) -> "Profile":
    """Return the profile to simulate: the shipped ``sim`` where none is named."""
    profile = profile_of(config or ["sim"], samples=samples, device=device)
    if scans is None:
        return profile
    simulator = profile.simulator.model_copy(update={"scans": scans})
    return profile.model_copy(update={"simulator": simulator})


def calculated(cif: Path, profile: "Profile", *, site: int) -> "Specimen":
    """Return the specimen of a structure file, told what goes on meanwhile."""
    from nearedge.sim.crystal import specimen_of_file

    instrument = profile.instrument
    typer.echo(f"calculating the {instrument.absorber} {instrument.edge} spectrum with FEFF10 …")
    return specimen_of_file(cif, absorber=instrument.absorber, edge=instrument.edge, number=site)


def frames_folder(profile: "Profile") -> Path | None:
    """Return where a camera writes its files: the first folder that the service may read."""
    roots = profile.instrument.readable_roots
    return Path(roots[0]) if roots else None


def tell(name: str, doc: dict[str, Any]) -> None:
    """Print a line when a run ends."""
    if name == "stop":
        typer.echo(f"run {doc['run_start'][:8]}  {doc['exit_status']}  {doc['num_events']}")
