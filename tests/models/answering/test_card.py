import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from nearedge.models.answering.card import FORM, CardError, read_card, shipped, write_card

ENTRIES = {
    "edges": [["Si", "K"], ["Fe", "L3"]],
    "species": ["O", "Si"],
    "atoms": 24,
    "grid": [-10.0, 60.0, 0.5],
    "network": {},
    "encoder": {},
    "surrogate": {},
    "diffusion": {},
    "members": 8,
}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file({"a": np.arange(3.0)}, path)
    return path


def test_card_reads_back_what_was_written(weights):
    card = write_card(weights, **ENTRIES, figures={"val": {"bond_mae": 0.03}})
    assert card.edges == (("Si", "K"), ("Fe", "L3"))
    assert card.species == ("O", "Si")
    assert card.figures == {"val": {"bond_mae": 0.03}}
    assert card.name == "tiny"
    assert read_card(str(weights)) == card


def test_the_digest_covers_weights_and_card(weights, tmp_path):
    digest = write_card(weights, **ENTRIES).digest
    other = write_card(weights, **ENTRIES, outlier={"misfit": 1.0, "threshold": 0.5})
    assert other.digest != digest
    again = tmp_path / "renamed.safetensors"
    again.write_bytes(weights.read_bytes())
    assert write_card(again, **ENTRIES).digest == digest
    save_file({"a": np.arange(4.0)}, again)
    assert write_card(again, **ENTRIES).digest != digest


def test_spaces_of_a_card_do_not_matter(weights):
    card, sidecar = write_card(weights, **ENTRIES), weights.with_suffix(".json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()), indent=4))
    assert read_card(str(weights)).digest == card.digest


def test_supports_only_what_was_trained(weights):
    card = write_card(weights, **ENTRIES)
    assert card.supports("Fe", "L3")
    assert not card.supports("Fe", "K")


def test_card_of_other_weights_is_refused(weights):
    write_card(weights, **ENTRIES)
    save_file({"a": np.arange(4.0)}, weights)
    with pytest.raises(CardError, match="other weights"):
        read_card(str(weights))


def test_missing_card_is_named(weights):
    with pytest.raises(CardError, match=r"expected tiny\.json"):
        read_card(str(weights))


def test_missing_weights_list_what_is_shipped():
    with pytest.raises(CardError, match="siox"):
        read_card("no-such-model")


def test_card_of_another_form_is_refused(weights):
    write_card(weights, **ENTRIES)
    sidecar = weights.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace(f'"form": {FORM}', '"form": 0'))
    weights.touch()
    with pytest.raises(CardError, match=f"form {FORM}"):
        read_card(str(weights))


def test_shipped_weights_have_a_true_card():
    metals = ("Fe", "Cu", "Zn", "Cr", "Mn", "Ni", "Co")
    known = {"siox": ("Si", "O"), "any": (*metals, "S", "As", "Se")}
    assert set(shipped()) == set(known)
    for name, absorbers in known.items():
        card = read_card(name)
        assert all(card.supports(absorber, "K") for absorber in absorbers)
        assert not card.supports("Mo", "K")
        assert card.path.stat().st_size < 20 * 2**20
        assert card.limits


def test_reading_a_card_does_not_import_torch():
    code = (
        "import sys; from nearedge.models.answering.card import read_card; read_card('siox'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
