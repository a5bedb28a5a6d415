"""Profiles: layered YAML and environment into one checked tree, and what it means in words."""

import difflib
import importlib.resources
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ValidationError

from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.settings.reference import reference_markdown, sections
from nearedge.streaming.settings.words import inconsistencies, sentences

__all__ = [
    "ConfigError",
    "describe",
    "inconsistencies",
    "load_profile",
    "reference_markdown",
    "schema",
    "shipped",
]

ENVIRONMENT = "NEAREDGE__"

Tree: TypeAlias = dict[str, Any]
Layer: TypeAlias = tuple[str, Tree]
"""Where settings come from, and the settings."""


class ConfigError(ValueError):
    """Settings that cannot be used; the text says where, what was expected and what to do."""


def load_profile(names: Sequence[str], *, environ: Mapping[str, str]) -> Profile:
    """Return the profile that several layers make, later ones over earlier ones.

    Parameters
    ----------
    names
        Names of shipped profiles (``sim``) or paths of YAML files. Mappings are merged key by key,
        everything else is replaced.
    environ
        The environment: ``NEAREDGE__WORKER__DEVICE=cpu`` sets ``worker.device`` over all files. Its
        values are read as YAML.

    Raises
    ------
    ConfigError
        If a file is not there or is no YAML mapping, or a key is unknown or has a wrong value.
    """
    layers = [_layer(name) for name in names]
    layers += _environment(environ)
    tree: Tree = {}
    for _, settings in layers:
        tree = _merged(tree, settings)
    try:
        return Profile.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, layers)) from error


def describe(profile: Profile) -> str:
    """Return what a service with this profile would do, a sentence a line.

    Raises
    ------
    ConfigError
        When settings do not fit each other: each of them a line.
    """
    troubles = inconsistencies(profile)
    if troubles:
        raise ConfigError("\n".join(troubles))
    return "\n".join(sentences(profile))


def schema() -> dict[str, Any]:
    """Return the JSON schema of a profile."""
    return Profile.model_json_schema()


def shipped() -> tuple[str, ...]:
    """Return the names of the profiles that come with nearedge."""
    files = importlib.resources.files("nearedge.profiles").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def _layer(name: str) -> Layer:
    if name in shipped():
        text = (importlib.resources.files("nearedge.profiles") / f"{name}.yaml").read_text("utf-8")
        return f"profile {name}", _parsed(f"profile {name}", text)
    path = Path(name).expanduser()
    try:
        return str(path), _parsed(str(path), path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"found no profile {name!r} ({error}); expected the path of a YAML file or one of: "
            + ", ".join(shipped())
        ) from error


def _parsed(origin: str, text: str) -> Tree:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is no YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{origin}: found {type(tree).__name__}, expected a mapping of sections")
    return tree


def _environment(environ: Mapping[str, str]) -> list[Layer]:
    return [
        (f"environment variable {name}", _from_variable(name, environ[name]))
        for name in sorted(environ)
        if name.startswith(ENVIRONMENT)
    ]


def _from_variable(name: str, text: str) -> Tree:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"environment variable {name} is no YAML: {error}") from error
    for key in reversed(name.removeprefix(ENVIRONMENT).lower().split("__")):
        value = {key: value}
    return dict(value)


def _merged(lower: Tree, upper: Tree) -> Tree:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            # settings of one technique's normalisation mean nothing to the other's
            anew = key == "normalise" and _changes_technique(below, value)
            merged[key] = value if anew else _merged(below, value)
        else:
            merged[key] = value
    return merged


def _changes_technique(lower: Tree, upper: Tree) -> bool:
    before = lower.get("technique")
    return before is not None and upper.get("technique", before) != before


# what went wrong


def _explain(error: ValidationError, layers: Sequence[Layer]) -> str:
    located = [(_path_in_tree(t["loc"], layers), t) for t in error.errors(include_url=False)]
    # a value that no member of a union takes has one trouble for each of them
    grouped = itertools.groupby(located, key=lambda pair: pair[0])
    return "\n".join(_sentence(path, [t for _, t in pairs], layers) for path, pairs in grouped)


def _sentence(path: tuple[str, ...], troubles: Sequence[Any], layers: Sequence[Layer]) -> str:
    where = f"{'.'.join(path) or 'the profile'} ({_origin(path, layers)})"
    if troubles[0]["type"] == "extra_forbidden":
        known = _keys_at(path[:-1], layers)
        close = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"unknown key {where}: {hint}"
    found = repr(troubles[0]["input"])[:100]
    expected = " or ".join(dict.fromkeys(trouble["msg"] for trouble in troubles))
    return f"{where}: found {found}; {expected.replace('valid tuple', 'valid list')}"


def _path_in_tree(loc: Sequence[Any], layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return pydantic's location without the names of union members that it puts in."""
    trees: list[Any] = [tree for _, tree in layers]
    path: list[str] = []
    for part in loc:
        below = [tree[part] for tree in trees if isinstance(tree, dict) and part in tree]
        if below:
            path.append(str(part))
            trees = below
    return tuple(path)


def _origin(path: Sequence[str], layers: Sequence[Layer]) -> str:
    """Return the last layer that sets what lies at ``path``."""
    for origin, tree in reversed(layers):
        if _holds(tree, path):
            return origin
    return "default"


def _holds(tree: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return not isinstance(tree, dict)
        tree = tree[key]
    return True


def _keys_at(path: Sequence[str], layers: Sequence[Layer]) -> list[str]:
    tree: Tree = {}
    for _, settings in layers:
        tree = _merged(tree, settings)
    models: list[type[BaseModel]] = [Profile]
    for key in path:
        tree = tree.get(key) or {}
        models = [
            m
            for model in models
            if key in model.model_fields
            for m in sections(model.model_fields[key].annotation)
        ]
    chosen = [model for model in models if _is_of(model, tree)] or models
    return sorted({key for model in chosen for key in model.model_fields})


def _is_of(model: type[BaseModel], tree: Any) -> bool:
    field = model.model_fields.get("technique")
    return field is not None and isinstance(tree, dict) and tree.get("technique") == field.default
