"""Write docs/profiles.md: ``python -m nearedge.streaming.settings.reference``."""

import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nearedge.streaming.settings.profile import Profile


def reference_markdown() -> str:
    """Return docs/profiles.md: every setting with its type, default and meaning."""
    parts = [_PREAMBLE]
    for path, model in _all_sections(Profile, ""):
        parts.append(_section_markdown(path, model))
    return "\n".join(parts)


_PREAMBLE = """# Profiles

One profile describes one instrument and technique. `-c` takes the name of a shipped profile or the
path of a YAML file. Repeat it to layer several; later ones override earlier ones. The environment
overrides them all: `NEAREDGE__WORKER__DEVICE=cpu` sets `worker.device`. `nearedge check -c …` says
what a profile would do. An unknown key is an error.

Start from the shipped profile that is nearest to your instrument and put your own data keys into
`instrument.roles`. A file with only the lines that differ is enough:
`nearedge run -c xanes-transmission -c my-beamline.yaml`.

This page is generated: `python -m nearedge.streaming.settings.reference > docs/profiles.md`.
"""


def sections(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings classes in an annotation; a union gives each of its members."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [s for part in typing.get_args(annotation) for s in sections(part)]


def _all_sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        for section in sections(field.annotation):
            yield from _all_sections(section, f"{path}.{name}".lstrip("."))


def _section_markdown(path: str, model: type[BaseModel]) -> str:
    plain = {n: f for n, f in model.model_fields.items() if not sections(f.annotation)}
    technique = model.model_fields.get("technique")
    variant = ""
    if path.endswith("normalise") and technique is not None:
        variant = f" (technique: {technique.default})"
    lines = [f"## `{path}`{variant}" if path else "## Top level", "", _first_line(model), ""]
    if plain:
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [_row(name, field) for name, field in plain.items()]
        lines.append("")
    return "\n".join(lines)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else f"`{_default(field)}`"
    cells = (f"`{name}`", _type_name(field.annotation), default, field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    text = yaml.safe_dump(_plain(field.default), default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)


def _type_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin is tuple:
        inner = [_type_name(a) for a in arguments if a is not Ellipsis]
        return f"list of {inner[0]}" if Ellipsis in arguments else f"[{', '.join(inner)}]"
    if origin is dict:
        return "mapping"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_name(argument) for argument in arguments)
    if annotation is type(None):
        return "null"
    if hasattr(annotation, "__members__"):
        return ", ".join(f"`{member.value}`" for member in annotation)
    names = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    return names.get(annotation, str(annotation))


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference_markdown())
