import pytest
import torch

from nearedge.models.training.checkpoint import Checkpoint, CheckpointError

ORIGIN = {"recipe": {"seed": 0, "denoiser": {"steps": 8000}}, "data": "abc"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


def begun(path):
    checkpoint = Checkpoint(path, origin=ORIGIN, resume=False)
    checkpoint.add_member({"weights": {"a": torch.ones(3)}})
    return checkpoint


def test_what_was_kept_is_taken_up_again(path):
    begun(path).keep("denoiser", {"step": 4})
    again = Checkpoint(path, origin=ORIGIN, resume=True)
    assert len(again.members) == 1
    assert torch.equal(again.members[0]["weights"]["a"], torch.ones(3))
    assert again.training("denoiser") == {"step": 4}


def test_a_new_training_takes_nothing_up(path):
    begun(path)
    fresh = Checkpoint(path, origin=ORIGIN, resume=False)
    assert fresh.members == ()
    assert fresh.training("denoiser") is None


def test_a_training_without_a_checkpoint_begins_anew(path):
    assert Checkpoint(path, origin=ORIGIN, resume=True).members == ()


def test_a_write_that_is_cut_off_leaves_the_last_checkpoint(path, monkeypatch):
    checkpoint = begun(path)

    def half(state, file):
        file.write_bytes(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.keep("denoiser", {"step": 4})
    again = Checkpoint(path, origin=ORIGIN, resume=True)
    assert len(again.members) == 1
    assert again.training("denoiser") is None


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (
            {"recipe": {"seed": 0, "denoiser": {"steps": 6000}}, "data": "abc"},
            r"recipe\.denoiser\.steps was 8000, is 6000",
        ),
        (ORIGIN | {"data": "def"}, "data was abc, is def"),
    ],
)
def test_another_recipe_or_other_data_are_refused(path, origin, message):
    begun(path)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(path, origin=origin, resume=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of it", b"no checkpoint at all"])
def test_a_broken_checkpoint_says_what_to_do(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="train without resuming"):
        Checkpoint(path, origin=ORIGIN, resume=True)


def test_a_checkpoint_of_another_form_is_refused(path):
    torch.save({"step": 3}, path)
    with pytest.raises(CheckpointError, match="no checkpoint of form"):
        Checkpoint(path, origin=ORIGIN, resume=True)
