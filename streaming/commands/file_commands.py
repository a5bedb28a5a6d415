"""The commands that need no service: invert, train, evaluate."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from nearedge.streaming.commands.options import (
    Configs,
    Device,
    Elements,
    Samples,
    one_thread,
    profile_of,
)

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from rich.progress import Progress, TaskID

    from nearedge.models import Inversion
    from nearedge.models.answering.several import Several
    from nearedge.models.data.instruments import InputCondition


def invert(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders or patterns: columns of text, XDI, SPEC, Athena projects, "
            "HDF5/NeXus, EMSA/MSPEC, Parquet …",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Write a .parquet or .json file, or a folder of extended XYZ files."
        ),
    ],
    config: Configs = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Say which column is what, by number or name: energy=1,i0=2,it=3."),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Average the scans of a file if they agree."),
    ] = False,
    samples: Samples = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other clusters.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes at a time.")] = 1,
    device: Device = None,
    elements: Elements = None,
    feff: Annotated[
        bool,
        typer.Option(
            "--feff", help="Check the likeliest clusters with FEFF10 (extra feff; some 10 s each)."
        ),
    ] = False,
) -> None:
    """Invert spectra of files. If a spectrum cannot be inverted, the output says why."""
    from nearedge.streaming.commands.file_inversion import FileInversion
    from nearedge.streaming.commands.file_list import files_of
    from nearedge.streaming.commands.saving import Saving, is_folder
    from nearedge.streaming.commands.stopping import StopAsked, stop_raised
    from nearedge.streaming.sources.files import parse_columns

    profile = profile_of(config, device=device, samples=samples, elements=elements)
    is_folder(out)  # an ending that stands for nothing is refused first
    chosen = parse_columns(columns) if columns else None
    paths = files_of(files, besides=out)
    with Saving(out) as saving:
        call = FileInversion(profile, saving, seed=seed, jobs=jobs, again=feff, tell=typer.echo)
        try:
            with stop_raised():
                call.run(paths, columns=chosen, merge=merge)
        except StopAsked as stop:
            typer.echo(call.stopped(), err=True)
            saving.close()
            stop.end()
        typer.echo(call.done())
    if feff:
        _check_by_feff(out, call.inverted, span=call.card.grid)
    if call.lost:
        raise typer.Exit(1)


def map_(
    image: Annotated[
        str,
        typer.Argument(
            help="HDF5, NeXus, .dm3, .dm4, .emd or .hspy with an array of spectra over a sample, "
            "a time or a temperature; .jsonl with the documents of a run; or the uid of a stored "
            "run.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Write this HDF5 file (.h5 or .hspy).")],
    config: Configs = None,
    bin_: Annotated[
        int, typer.Option("--bin", min=1, help="Put so many pixels together along each axis.")
    ] = 1,
    denoise: Annotated[
        bool,
        typer.Option("--denoise", help="Keep only principal components that stand out of noise."),
    ] = False,
    groups: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Draw clusters for so many groups of like pixels; none: as many as there are.",
            show_default=False,
        ),
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            help="Fit each pixel by the mean spectra of these groups, such as 0,1.",
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Put the map into the catalog, too (catalog.maps).")
    ] = False,
    samples: Samples = None,
    seed: Annotated[int, typer.Option(help="Draw other clusters with another seed.")] = 0,
    device: Device = None,
    elements: Elements = None,
) -> None:
    """Answer every pixel of a map at once, and draw clusters for groups of like pixels."""
    if out.suffix not in (".h5", ".hdf5", ".nxs", ".hspy"):
        raise typer.BadParameter(
            f"{out} ends in {out.suffix!r}; expected .h5, .hdf5, .nxs or .hspy", param_hint="--out"
        )
    one_thread()
    from nearedge.streaming.commands.map_source import key_of, map_of
    from nearedge.streaming.commands.map_source import store as store_map
    from nearedge.streaming.commands.mapping import MapOptions, Mapping, in_words
    from nearedge.streaming.workers.worker import load_inverter

    profile = profile_of(config, device=device, samples=samples, elements=elements)
    found = map_of(image, profile)
    worker = profile.worker
    model = cast("Several", load_inverter(worker.model_copy(update={"device": worker.devices[0]})))
    options = MapOptions(
        bin=bin_, denoise=denoise, groups=groups, members=_numbers(members), seed=seed
    )
    with progress() as bar:
        task = bar.add_task("pixels", total=len(found.spectra))
        mapping = Mapping(
            profile,
            model,
            options,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        report = mapping.run(found, out, source=image)
    for line in in_words(report):
        typer.echo(line)
    typer.echo(str(out))
    if store:
        key = key_of(found, profile, model=model.digest, how=repr(options))
        store_map(found, profile, out, key=key)
        typer.echo(f"stored as {key}")


def _numbers(text: str | None) -> tuple[int, ...]:
    """Return the numbers of groups that a user names."""
    try:
        found = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        found = (-1,)
    if min(found, default=0) < 0:
        raise typer.BadParameter(
            f"found {text!r}; expected numbers of groups, such as 0,1", param_hint="--members"
        )
    return found


def _check_by_feff(
    out: Path, answers: "list[tuple[str, Inversion]]", *, span: tuple[float, float, float]
) -> None:
    from nearedge.streaming.commands.feff_check import check_all, in_words, write_report
    from nearedge.streaming.workers.feff import require_feff

    require_feff()
    with progress() as bar:
        found = check_all(answers, span=span)
        rows = list(bar.track(found, total=len(answers), description="asking FEFF"))
    for row in rows:
        typer.echo(in_words(row))
    typer.echo(f"FEFF's spectra: {write_report(out, rows)}")


def train(
    data: Annotated[list[Path], typer.Argument(help="Parquet files of sites.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the weights and the log.")],
    recipe: Annotated[
        Path | None, typer.Option(help="YAML recipe; without it, the default recipe is used.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the weights.")] = "model",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.")
    ] = False,
) -> None:
    """Train a model. The same recipe, data and machine give the same weights."""
    from nearedge.models.training.recipe import Recipe, read_recipe
    from nearedge.models.training.training import train as train_model

    chosen = Recipe() if recipe is None else read_recipe(recipe)
    with progress() as bar:
        card = train_model(
            chosen,
            data=data,
            out=out,
            name=name,
            device=device,
            resume=resume,
            progress=_stages(bar),
        )
    typer.echo(f"{card.path}: digest {card.digest[:16]}")


def evaluate(
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="Parquet files of calculated sites.", show_default=False),
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option(
            help="Score on the measured spectra in this folder, which has a truth.csv. DATA is "
            "then for the nearest calculated spectrum.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Shipped names or .safetensors files, joined by +; each spectrum goes to the "
            "first that knows its edge and composition."
        ),
    ] = "siox+any",
    split: Annotated[
        list[str] | None, typer.Option(help="Splits to evaluate on; the default is test and glass.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help="Under which conditions; repeat for several. The default is all of them, and the "
            "error against the counts.",
            show_default=False,
        ),
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Fit and score the baselines, too.")] = True,
    samples: Annotated[
        int, typer.Option(min=1, help="Number of clusters to draw per spectrum.")
    ] = 32,
    composition: Annotated[
        bool, typer.Option(help="Tell the model the elements of each site's formula.")
    ] = True,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 uses all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
) -> None:
    """Score a model and the baselines on held-out families, or on measured standards."""
    from nearedge.models.answering.several import Several
    from nearedge.models.data.dataset import read_dataset
    from nearedge.models.evaluation.evaluate import EvaluationPlan
    from nearedge.models.evaluation.evaluate import evaluate as evaluate_model

    if not (data or measured):
        raise typer.BadParameter("found nothing to score on: name Parquet files, or --measured")
    if measured:
        _evaluate_measured(
            measured,
            data or [],
            model,
            samples=samples,
            device=device,
            as_json=as_json,
        )
        return
    plan = EvaluationPlan(
        samples=samples,
        splits=tuple(split or ("test", "glass")),
        conditions=_conditions(condition or []),
        composition=composition,
        baselines=baselines,
        noise=not condition,
    )
    inverter = Several.load(model, device=device, threads=threads)
    with progress() as bar:
        told = _stages(bar)
        report = evaluate_model(
            inverter,
            read_dataset(data or []),
            plan=plan,
            progress=lambda stage, done, total: told(stage, done, total, {}),
        )
    typer.echo(report.to_json() if as_json else report.to_markdown())


def _conditions(names: list[str]) -> "tuple[InputCondition, ...]":
    """Return the conditions of these names, all if there is none."""
    from nearedge.models.data.instruments import InputCondition

    known = [one.value for one in InputCondition]
    names = names or known
    if wrong := [name for name in names if name not in known]:
        raise typer.BadParameter(
            f"found {wrong[0]!r}, expected one of {', '.join(known)}", param_hint="--condition"
        )
    return tuple(map(InputCondition, names))


def _evaluate_measured(
    folder: Path, data: list[Path], model: str, *, samples: int, device: str, as_json: bool
) -> None:
    import json

    from nearedge.models import Quality
    from nearedge.models.answering.cards import read_cards
    from nearedge.models.answering.several import Several
    from nearedge.models.data.dataset import read_dataset
    from nearedge.models.evaluation.standards import to_dict, to_markdown
    from nearedge.streaming.commands import standards
    from nearedge.streaming.commands.inverting import InvertOptions

    cards = read_cards(model)
    asked = standards.marked_standards(folder, cards)
    effort = InvertOptions(samples=samples, quality=Quality.DEFAULT)
    with progress() as bar:
        found = standards.answer_standards(
            asked,
            inverter=Several.load(model, device=device),
            supports=cards.supports,
            effort=effort,
            track=lambda some: bar.track(list(some), description="inverting"),
        )
    baselines = standards.answer_by_baselines(asked, read_dataset(data) if data else [])
    show = json.dumps(to_dict(found, baselines), indent=1) if as_json else None
    typer.echo(show or to_markdown(found, baselines))


@contextmanager
def progress() -> "Iterator[Progress]":
    """Yield progress bars on standard error, shown on a terminal only."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        yield bar


def _stages(bar: "Progress") -> Callable[[str, int, int, dict[str, float]], None]:
    """Return what shows each stage of a long job as a bar of its own, with its newest figures."""
    tasks: dict[str, TaskID] = {}

    def show(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        text = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        bar.update(tasks[stage], completed=done, total=total, description=f"{stage} {text}")

    return show


def export(
    key: Annotated[
        str, typer.Argument(help="Key of a result, 'latest', or 'trend' for all figures as CSV.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")],
    config: Configs = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="xyz, cif, poscar, xdi or nexus. Without it, the file's name decides."
        ),
    ] = None,
) -> None:
    """Save a stored result as a file that other programs read."""
    profile = profile_of(config)
    typer.echo("opening the catalog …", err=True)  # Tiled alone takes seconds to import

    from nearedge.streaming.commands.exporting import export_result, export_trend

    if key == "trend":
        said = export_trend(profile, out)
    else:
        said = export_result(profile, key, out, form=form)
    typer.echo(said)


def merge(
    spectra: Annotated[
        list[str],
        typer.Argument(
            help="Repeats of one spectrum: scan ids, uids of runs or keys of results.",
            show_default=False,
        ),
    ],
    config: Configs = None,
    most_shift: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Move a spectrum by at most so many eV; 0: by none. [default: 0.5, EELS 3]",
            show_default=False,
        ),
    ] = None,
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway", help="Merge what does not agree, too; the result is flagged for it."
        ),
    ] = False,
    samples: Samples = None,
    device: Device = None,
) -> None:
    """Average stored repeats of a spectrum, invert the mean and store that as a result."""
    profile = profile_of(config, device=device, samples=samples)
    typer.echo("opening the catalog …", err=True)  # Tiled alone takes seconds to import

    from nearedge.streaming.commands.merging import MergeOptions, merge_in_catalog

    done = merge_in_catalog(profile, spectra, MergeOptions(most=most_shift, anyway=anyway))
    for line in done:
        typer.echo(line)


COMMANDS = (invert, map_, merge, train, evaluate, export)
