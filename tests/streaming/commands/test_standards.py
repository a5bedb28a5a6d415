import json
import shutil
from pathlib import Path

import pytest

from nearedge.models import Quality
from nearedge.streaming.cli import main
from nearedge.streaming.commands.inverting import InvertOptions
from nearedge.streaming.commands.standards import (
    answer_by_baselines,
    answer_standards,
    read_standards,
)

DATA = Path(__file__).parents[2] / "data" / "measured"
PART = Path(__file__).parents[3] / "benchmarks" / "data" / "any-14.parquet"
TRUTH = """file,compound,absorber,edge,cn_true,bond_mean_A
Fe_Fe2O3_rt_01.xdi,hematite,Fe,K,6,2.029
Cu_CuO_tenorite_13K_01.xdi,tenorite,Cu,K,4,1.952
missing.xdi,nothing,Fe,K,6,2.0
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("Fe_Fe2O3_rt_01.xdi", "Cu_CuO_tenorite_13K_01.xdi"):
        shutil.copy(DATA / name, tmp_path)
    (tmp_path / "truth.csv").write_text(TRUTH)
    return tmp_path


class Nobody:
    """A model that is never asked, since it knows no edge."""

    def invert(self, spectra, **settings):
        assert not spectra
        return []


def test_what_the_model_does_not_know_counts_as_unsupported(folder):
    asked = read_standards(folder)
    every = answer_standards(
        asked,
        inverter=Nobody(),
        supports=lambda absorber, edge: False,
        effort=InvertOptions(samples=4, quality=Quality.FAST),
    )
    reasons = {one.name: one.refused for one in every}
    assert reasons == {
        "hematite": ("unsupported",),
        "tenorite": ("unsupported",),
        "nothing": ("unreadable",),
    }


def test_baselines_answer_beside_it(folder):
    (trees,) = answer_by_baselines(read_standards(folder), []).values()
    found = {one.name: one.found for one in trees}
    assert found["hematite"][0].cn == pytest.approx(4)  # the other compound is all it has seen
    assert not found["nothing"]


def test_the_command_wants_something_to_score_on(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate"])
    assert ended.value.code == 2
    assert "--measured" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"has no truth\.csv"):
        read_standards(tmp_path)


def test_one_condition_can_be_asked_without_the_baselines(capsys):
    asked = ["evaluate", str(PART), "--model", "any", "--split", "val", "--samples", "2", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--condition", "measured", "--no-baselines"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["figures"]) == ["measured"]
    assert list(found["figures"]["measured"]) == ["model"]
    assert found["noise"] == []


def test_a_condition_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(PART), "--condition", "dirty"])
    assert ended.value.code == 2
    assert "'dirty', expected one of" in capsys.readouterr().err
