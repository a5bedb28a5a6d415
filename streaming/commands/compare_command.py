"""The command ``compare``: what spectroscopists do by hand, beside the answer of the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.streaming.commands.options import Configs, one_thread, profile_of

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from nearedge.streaming.commands.comparing import FitReport, SeriesReport

ENDINGS = (".csv", ".json", ".png", ".pdf", ".svg")


def compare(
    spectra: Annotated[
        list[str],
        typer.Argument(
            help="One spectrum, or a series: files, folders or patterns; 'latest', the key of a "
            "result or map, a scan number, or the uid of a run in the catalog.",
            show_default=False,
        ),
    ],
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="End members, named as SPECTRA are; may be repeated. A series needs none.",
            show_default=False,
        ),
    ] = None,
    config: Configs = None,
    begin: Annotated[
        float, typer.Option("--from", help="First energy that counts, eV from e0.")
    ] = -20.0,
    end: Annotated[float, typer.Option("--to", help="Last energy, eV from e0.")] = 50.0,
    most: Annotated[
        int | None,
        typer.Option(min=1, help="Most members of a fit; none: all.", show_default=False),
    ] = None,
    sum_to_one: Annotated[
        bool, typer.Option("--sum-to-one", help="Make the weights add up to 1.")
    ] = False,
    shift: Annotated[
        float,
        typer.Option(min=0.0, help="Allow one shift of the spectrum against all members, eV."),
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Write the curves or the series as .csv, all as .json, or a figure as .png, .pdf "
            "or .svg.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Fit a spectrum by end members, or find the components of a series, without the model."""
    if out is not None and out.suffix not in ENDINGS:
        raise typer.BadParameter(
            f"{out} ends in {out.suffix!r}; expected {', '.join(ENDINGS)}", param_hint="--out"
        )
    one_thread()
    from rich.console import Console

    from nearedge.streaming.answers.plain import dump
    from nearedge.streaming.commands.compare_sources import Sources
    from nearedge.streaming.commands.comparing import CompareOptions, compared

    options = CompareOptions(span=(begin, end), most=most, to_one=sum_to_one, most_shift=shift)
    with Sources(profile_of(config)) as sources:
        targets, members = sources.find(spectra), sources.find(with_ or [])
    for line in sources.left_out:
        typer.echo(f"left out: {line}", err=True)
    report = compared(targets, members, options)
    told = dump(report.as_json() | {"left_out": sources.left_out})
    if as_json:
        typer.echo(told.decode())
    else:
        for line in report.words():
            typer.echo(line)
        table, console = report.table(), Console()
        if not console.is_terminal:  # nothing there has to be broken into lines
            console = Console(width=Console(width=10_000).measure(table).maximum)
        console.print(table)
    if out is not None:
        _write(report, out, told)
        typer.echo(str(out), err=True)


def _write(report: "FitReport | SeriesReport", out: Path, told: bytes) -> None:
    """Write what the ending of a file asks for."""
    if out.suffix == ".json":
        out.write_bytes(told)
    elif out.suffix == ".csv":
        out.write_text(report.csv())
    else:
        _figure(report, out)


def _figure(report: "FitReport | SeriesReport", out: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from nearedge.streaming.answers.comparison_plots import plot_combination, plot_series
    from nearedge.streaming.commands.comparing import FitReport

    if isinstance(report, FitReport):
        figure = plot_combination(report.fits[0], name=report.target.name)
    else:
        names = [one.name for one in report.members]
        figure = plot_series(report.found, fit=report.fit, members=names)
    figure.savefig(out)


COMMANDS = (compare,)
