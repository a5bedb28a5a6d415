import json
from pathlib import Path

import pytest
import yaml

from nearedge.callbacks.instrument import EelsSettings, XanesSettings
from nearedge.models import Technique
from nearedge.streaming.settings.configuration import (
    ConfigError,
    describe,
    inconsistencies,
    load_profile,
    reference_markdown,
    schema,
    shipped,
)
from nearedge.streaming.settings.profile import Profile

ROOT = Path(__file__).parents[3]
SHIPPED = (
    *("eels", "eels-files", "eels-map", "quick", "sim"),
    *("xanes-fluorescence", "xanes-map", "xanes-transmission"),
)


@pytest.fixture
def written(tmp_path):
    """Write a profile and return its path."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def refusal(*names, environ=None):
    with pytest.raises(ConfigError) as caught:
        load_profile(names, environ=environ or {})
    return str(caught.value)


def test_the_shipped_profiles_are_found():
    assert shipped() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_profile_loads_and_makes_sense(name):
    profile = load_profile([name], environ={})
    assert profile.title
    assert inconsistencies(profile) == ()
    for key in (profile.instrument.roles.energy, profile.instrument.roles.spectrum):
        assert key is None or key in describe(profile)


def test_no_profile_is_the_defaults():
    assert load_profile([], environ={}) == Profile()


def test_layers_are_merged_key_by_key(written):
    mine = written("instrument: {roles: {i0: my-i0, context: [t]}, partial_every_s: 5}")
    profile = load_profile(["xanes-transmission", mine], environ={})
    roles = profile.instrument.roles
    assert (roles.i0, roles.it, roles.context) == ("my-i0", "chambers-it", ("t",))
    assert profile.instrument.partial_every_s == 5
    assert load_profile([mine, "xanes-transmission"], environ={}).instrument.roles.i0 == (
        "chambers-i0"
    )


def test_the_environment_comes_last_and_is_read_as_yaml(written):
    mine = written("worker: {device: cuda, samples: 4}")
    environ = {
        "NEAREDGE__WORKER__DEVICE": "cpu",
        "NEAREDGE__INSTRUMENT__READABLE_ROOTS": "[/data, /frames]",
        "NEAREDGE__INSTRUMENT__ROLES__IF_": "[a, b]",
        "NEAREDGE__CATALOG__URI": "null",
        "NEAREDGE_OTHER": "ignored",
        "HOME": "/root",
    }
    profile = load_profile([mine], environ=environ)
    assert (profile.worker.device, profile.worker.samples) == ("cpu", 4)
    assert profile.instrument.readable_roots == ("/data", "/frames")
    assert profile.instrument.roles.if_ == ("a", "b")


def test_normalise_follows_the_technique(written):
    eels = written("instrument: {technique: eels, normalise: {background: [-40, -5]}}")
    normalise = load_profile([eels], environ={}).instrument.normalise
    assert isinstance(normalise, EelsSettings) and normalise.background == (-40, -5)
    other = written("instrument: {technique: xanes, normalise: {technique: xanes}}", "other.yaml")
    assert isinstance(load_profile(["eels", other], environ={}).instrument.normalise, XanesSettings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wroker: {device: cpu}", "unknown key wroker ({path}): did you mean worker?"),
        (
            "instrument: {roles: {enrgy: x}}",
            "unknown key instrument.roles.enrgy ({path}): did you mean energy?",
        ),
        (
            "instrument: {normalise: {technique: eels, backgrund: [1, 2]}}",
            "unknown key instrument.normalise.backgrund ({path}): did you mean background?",
        ),
        ("service: {zzz: 1}", "unknown key service.zzz ({path}): known are "),
        ("worker: {samples: many}", "worker.samples ({path}): found 'many'; "),
        ("instrument: {roles: {if_: one}}", "found 'one'; Input should be a valid list"),
        ("worker: cpu", "worker ({path}): found 'cpu'; "),
        ("[1, 2]", "{path}: found list, expected a mapping of sections"),
        ("a: [1", "{path} is no YAML"),
    ],
)
def test_a_mistake_names_the_key_the_file_and_the_remedy(written, text, says):
    path = written(text)
    assert says.format(path=path) in refusal("sim", path)


def test_a_mistake_in_the_environment_names_the_variable():
    says = refusal("sim", environ={"NEAREDGE__WORKER__DEVIC": "cpu"})
    assert "worker.devic (environment variable NEAREDGE__WORKER__DEVIC)" in says
    assert "did you mean device?" in says


def test_every_mistake_is_told_at_once(written):
    path = written("worker: {samples: 0, devise: cpu}\nsource: {adress: x}")
    lines = refusal(path).splitlines()
    assert len(lines) == 3 and all(path in line for line in lines)


def test_of_several_files_the_one_with_the_mistake_is_named(written):
    bad = written("worker: {threds: 1}", "bad.yaml")
    good = written("worker: {threads: 1}", "good.yaml")
    assert f"worker.threds ({bad})" in refusal(bad, good)


def test_a_profile_that_is_not_there_lists_those_that_are():
    says = refusal("xanes-transmision")
    assert "'xanes-transmision'" in says and ", ".join(SHIPPED) in says


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"signal": "transmission"}, "instrument.roles.it"),
        ({"signal": "fluorescence"}, "instrument.roles.if_"),
        ({"signal": "spectrum", "technique": "eels"}, "instrument.roles.spectrum"),
        ({"roles": {"i0": "a", "it": "b"}}, "no energy axis"),
        ({"roles": {"i0": "a", "it": "b", "offset": 1, "dispersion": 2}}, "whole spectra only"),
        (
            {
                "signal": "fluorescence",
                "roles": {"energy": "e", "i0": "a", "if_": ["1", "2"], "icr": ["3", "4"]},
            },
            "one of each per element",
        ),
        (
            {
                "signal": "fluorescence",
                "roles": {"energy": "e", "i0": "a", "if_": ["1", "2"]},
                "omit_elements": [0, 1],
            },
            "leaves out every element",
        ),
        (
            {"technique": "eels", "signal": "spectrum", "normalise": {"technique": "xanes"}},
            "instrument.normalise is for xanes",
        ),
        ({"normalise": {"technique": "xanes", "energy_shift": "reference"}}, "needs the role ir"),
        ({"technique": "eels", "normalise": {"deconvolve": True}}, "needs a low-loss spectrum"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings, says):
    profile = Profile.model_validate({"instrument": settings})
    assert any(says in sentence for sentence in inconsistencies(profile))
    with pytest.raises(ConfigError):
        describe(profile)


def test_a_profile_in_words():
    words = describe(load_profile(["xanes-fluorescence"], environ={}))
    assert "the Si K edge by XANES" in words
    assert (
        "(fluo-roi1 + fluo-roi2 + fluo-roi3 + fluo-roi4), dead-time corrected, / chambers-i0"
        in (words)
    )
    assert "mono-energy, in eV" in words and "one spectrum of each run, when it stops" in words
    files = describe(load_profile(["eels-files"], environ={}))
    assert "camera-offset + camera-dispersion × channel" in files
    assert "opens files below /tmp/nearedge-frames and nowhere else" in files


def test_the_schema_describes_every_setting():
    tree = schema()
    assert json.loads(json.dumps(tree)) == tree
    sections = [s for s in tree["$defs"].values() if "properties" in s]
    settings = [p for section in sections for p in section["properties"].items()]
    told = {"$ref", "description", "discriminator", "const"}
    assert len(settings) > 60
    assert [name for name, field in settings if not told & set(field)] == []


def test_the_committed_reference_is_current():
    committed = (ROOT / "docs" / "profiles.md").read_text("utf-8")
    assert committed == reference_markdown(), (
        "run: python -m nearedge.streaming.settings.reference > docs/profiles.md"
    )


def test_the_simulators_profiles_have_the_simulators_modes():
    modes = {name: load_profile([name], environ={}).simulator.mode for name in SHIPPED}
    assert modes == {
        "eels": "eels",
        "eels-files": "eels-files",
        "eels-map": "eels-map",
        "quick": "quick",
        "sim": "transmission",
        "xanes-fluorescence": "fluorescence",
        "xanes-map": "xanes-map",
        "xanes-transmission": "transmission",
    }
    assert load_profile(["eels"], environ={}).instrument.technique is Technique.EELS


def test_the_demos_answers_are_the_beamlines():
    """The demo differs from xanes-transmission in nothing that changes an answer."""
    one, other = (load_profile([n], environ={}) for n in ("sim", "xanes-transmission"))
    assert one.digest() == other.digest()


def test_the_shipped_files_are_plain_yaml():
    for path in (ROOT / "profiles").glob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict)
