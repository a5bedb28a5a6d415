import csv
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nearedge.models.answering.card import read_card
from nearedge.models.answering.inverter import Inverter
from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, Expectation, count, describe
from nearedge.models.data import rattle
from nearedge.models.data.dataset import read_dataset, write_dataset
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.placement import Placement
from nearedge.models.training import calibrating, denoiser, encoders
from nearedge.models.training.checkpoint import CheckpointError
from nearedge.models.training.denoiser import _rate
from nearedge.models.training.placement import placement_size
from nearedge.models.training.recipe import DistantRecipe, Recipe, read_recipe
from nearedge.models.training.refit import refit
from nearedge.models.training.sites import load_sites
from nearedge.models.training.spectra import read_spectra, set_exam
from nearedge.models.training.training import start_denoiser, train

DATA = Path(__file__).parents[2] / "data" / "siox.parquet"
EDGES = (("O", "K"), ("Si", "K"))
RECIPE = Recipe.model_validate(
    {
        "atoms": 12,
        "views": 3,
        "encoder": {"width": 16, "folds": 2, "rounds": 1, "steps": 20, "batch": 8},
        "denoiser": {"channels": 8, "layers": 1, "pool": 30, "steps": 6, "batch": 8, "donors": 2},
        "placement": {
            **{"scalars": 8, "vectors": 4, "layers": 1, "filters": 4},
            **{"pool": 20, "steps": 4, "batch": 6, "donors": 2},
        },
        "shares": {"members": 1, "width": 8, "spectra": 12, "steps": 4, "batch": 4},
        "report_every": 2,
    }
)


DENOISER = [("denoiser", 2), ("denoiser", 4), ("denoiser", 6)]
PLACEMENT = [("placement", 2), ("placement", 4)]


@pytest.fixture(scope="module")
def sites():
    return read_dataset(DATA)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    seen = []
    card = train(
        RECIPE,
        data=[DATA],
        out=out,
        name="tiny",
        device="cpu",
        progress=lambda *told: seen.append(told),
    )
    return card, out, seen


def test_who_never_saw_a_site_never_saw_it_in_an_average():
    encoder = {"width": 8, "folds": 2, "rounds": 2, "steps": 1, "batch": 4}
    changes = {"mixture": {"mean": 0.3, "unlike": 0.7}, "encoder": encoder, "views": 6}
    recipe = Recipe.model_validate(RECIPE.model_dump() | changes)
    sites = load_sites([DATA], span=recipe.grid)
    members = read_spectra(sites, recipe).bank.members
    parts = encoders.partition(sites.train, folds=2, rounds=2, seed=recipe.seed)
    averages = [row[row >= 0] for row in members.reshape(-1, members.shape[2])]
    assert any(len({sites.train[k].structure for k in row}) > 1 for row in averages)
    for row in averages:
        assert (parts[:, row] == parts[:, row[:1]]).all()


def log_of(out):
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_training_writes_weights_card_and_log(trained):
    card, out, seen = trained
    assert card == read_card(str(out / "tiny.safetensors"))
    assert card.edges == EDGES
    assert card.data["train"]["sites"] == 24
    assert set(card.figures["val"]) == {"clean", "measured"}
    told = [(row["stage"], int(row["step"])) for row in log_of(out)]
    assert told == [(stage, done) for stage, done, _, figures in seen if figures]
    assert told == [
        *[("encoder", 1), ("encoder", 2)],
        *[("denoiser", 2), ("denoiser", 4), ("denoiser", 6)],
        *[("placement", 2), ("placement", 4)],
        ("calibration", 1),
    ]


def test_log_and_progress_tell_how_held_out_families_fare(trained):
    card, out, seen = trained
    for row, (_, _, _, figures) in zip(log_of(out), [s for s in seen if s[3]], strict=True):
        assert {name: value for name, value in row.items() if value} == {
            "stage": row["stage"],
            "step": row["step"],
            **{name: f"{value:.5g}" for name, value in figures.items()},
        }
    figures = {(stage, done): figures for stage, done, _, figures in seen}
    assert set(figures["encoder", 2]) == {"loss", "val_loss", "val_cn_accuracy", "val_bond_error"}
    for last in ("denoiser", 6), ("placement", 4):
        assert set(figures[last]) == {"loss", "val_loss"}
    assert figures["calibration", 1]["val_bond_mae"] == card.figures["val"]["clean"]["bond_mae"]


def test_what_watches_a_training_is_of_the_held_out_families_alone():
    sites = load_sites([DATA], span=RECIPE.grid)
    exam = set_exam(sites, RECIPE)
    read = read_spectra(sites, RECIPE, exam=exam)
    told = {"exam": exam, "device": torch.device("cpu")}
    training = start_denoiser(sites, read, RECIPE, **told)
    loss = training.examine()
    assert training.examine() == loss
    other = replace(sites, held_out=sites.held_out[::-1])
    assert start_denoiser(other, read, RECIPE, **told).examine() != loss
    fewer = replace(sites, bare=sites.bare[:5])
    assert start_denoiser(fewer, read, RECIPE, **told).examine() == loss


def test_training_again_gives_the_same_weights(trained, tmp_path):
    card, _, _ = trained
    again = train(RECIPE, data=[DATA], out=tmp_path, name="other", device="cpu")
    assert again.digest == card.digest


@pytest.mark.timeout(400)  # trains twice, and the first of these makes the model of the others
@pytest.mark.parametrize(
    ("place", "left"),
    [
        (("encoder", 2), [("encoder", 2), *DENOISER, *PLACEMENT]),
        (("denoiser", 6), [("denoiser", 6), *PLACEMENT]),
        (("placement", 2), PLACEMENT),
        (("calibration", 0), []),
    ],
)
def test_resumed_training_gives_the_same_weights_and_log(trained, tmp_path, place, left):
    """What was done before the interruption is not done again, and nothing passes as finished."""
    card, out, _ = trained

    def stop(stage, done, total, figures):
        if (stage, done) == place:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, data=[DATA], out=tmp_path, device="cpu", progress=stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]
    seen = []
    resumed = train(
        RECIPE,
        data=[DATA],
        out=tmp_path,
        device="cpu",
        resume=True,
        progress=lambda stage, done, *_: seen.append((stage, done)),
    )
    assert seen == [*left, ("calibration", 0), ("calibration", 1)]
    assert resumed.digest == card.digest
    assert (tmp_path / "log.csv").read_text() == (out / "log.csv").read_text()


def test_a_training_that_is_cut_off_in_calibration_leaves_no_model(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrating, "outlier_scale", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, data=[DATA], out=tmp_path, device="cpu")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]


def test_another_recipe_does_not_go_on_from_a_checkpoint(trained, tmp_path):
    _, out, _ = trained
    (tmp_path / "checkpoint.pt").write_bytes((out / "checkpoint.pt").read_bytes())
    other = Recipe.model_validate(RECIPE.model_dump() | {"seed": 1})
    with pytest.raises(CheckpointError, match=r"recipe\.seed was 0, is 1"):
        train(other, data=[DATA], out=tmp_path, device="cpu", resume=True)


def test_other_data_do_not_go_on_from_a_checkpoint(trained, sites, tmp_path):
    """Rows of the same names but with other spectra are other data."""
    _, out, _ = trained
    (tmp_path / "checkpoint.pt").write_bytes((out / "checkpoint.pt").read_bytes())
    write_dataset([replace(s, mu=1.01 * s.mu) for s in sites], tmp_path / "other.parquet")
    with pytest.raises(CheckpointError, match="data was"):
        train(RECIPE, data=[tmp_path / "other.parquet"], out=tmp_path, device="cpu", resume=True)


def test_weights_can_be_read_by_whoever_can_read_their_card(trained):
    card, _, _ = trained
    modes = {p.stat().st_mode & 0o777 for p in (card.path, card.path.with_suffix(".json"))}
    umask = os.umask(0o022)
    os.umask(umask)
    assert modes == {0o666 & ~umask}


def test_few_held_out_spectra_are_called_outliers(trained):
    card, _, _ = trained
    held_out = load_sites([DATA], span=RECIPE.grid).held_out
    asked = list(calibrating.questions(held_out, calibrating.CONDITIONS, seed=RECIPE.seed + 1))
    answers = calibrating.ask(Inverter.load(str(card.path), device="cpu"), asked, samples=32)
    assert card.outlier["misfit"] == pytest.approx(np.median([a.misfit for a in answers]))
    flagged = sum(a.ood_flag for a in answers)
    assert 0 < flagged <= np.ceil(calibrating.FALSE_ALARMS * len(answers))
    unexplained = sum("not-explained" in a.flags for a in answers)
    assert unexplained <= np.ceil(calibrating.FALSE_ALARMS * len(answers))
    assert card.outlier["explained"]["usual"] == pytest.approx(
        np.quantile([a.misfit for a in answers], calibrating.USUAL).tolist()
    )


def test_trained_model_inverts(trained, sites):
    card, _, _ = trained
    inverter = Inverter.load(str(card.path), device="cpu")
    site = next(s for s in sites if s.split == "val")
    answer = inverter.invert([normalise_xanes(site.spectrum)], seeds=[1], samples=3)[0]
    assert answer.samples.positions.shape == (3, 12, 3)
    assert answer.model == card.digest


def test_only_train_and_val_are_read(sites, tmp_path):
    foreign = [replace(s, id=f"t{k}", split=("test", "glass")[k % 2]) for k, s in enumerate(sites)]
    write_dataset([*sites, *foreign], tmp_path / "all.parquet")
    loaded = load_sites([tmp_path / "all.parquet"], span=RECIPE.grid)
    assert {s.split for s in [*loaded.train, *loaded.bare]} == {"train"}
    assert {s.split for s in loaded.held_out} == {"val"}


def test_data_without_held_out_sites_are_refused(sites, tmp_path):
    write_dataset([s for s in sites if s.split == "train"], tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="0 of val"):
        load_sites([tmp_path / "train.parquet"], span=RECIPE.grid)


def test_held_out_sites_of_another_edge_are_left_out(sites, tmp_path):
    silicon = [s for s in sites if s.split == "val" or s.absorber == "Si"]
    write_dataset(silicon, tmp_path / "si.parquet")
    loaded = load_sites([tmp_path / "si.parquet"], span=RECIPE.grid)
    assert loaded.edges == (("Si", "K"),)
    assert {s.absorber for s in loaded.held_out} == {"Si"}


def test_members_are_blind_to_whole_families(sites):
    twice = [*sites, *[replace(s, id=s.id + "b") for s in sites]]
    folds = encoders.partition(twice, folds=4, rounds=2, seed=0)
    assert (folds[:, : len(sites)] == folds[:, len(sites) :]).all()
    weights = encoders.blind_weights(folds, parts=4)
    assert np.allclose(weights.sum(1), 1)
    assert (np.count_nonzero(weights, axis=1) == 2).all()


def test_borrowed_expectation_errs_as_the_donor_does():
    d = count(2)
    told = Expectation(
        torch.ones(1, d) * 3,
        torch.ones(1, d),
        torch.zeros(1, EXPECTED_CN_CLASSES),
        torch.tensor([0]),
    )
    truth, donor = torch.full((1, d), 2.0), torch.full((1, d), 2.9)
    truth[0, -1] = torch.nan
    lent = denoiser.borrow(truth, donor, told, torch.zeros(1, d))
    assert torch.allclose(lent.mean[0, :-1], torch.full((d - 1,), 2.1))
    assert lent.mean[0, -1] == 3


def test_donors_are_the_most_similar_sites_of_the_same_edge(sites):
    labelled = denoiser.as_clusters(
        [s for s in sites if s.split == "train"], atoms=12, vocabulary=("O", "Si"), edges=EDGES
    )
    scale = torch.ones(2, count(2))
    donors = denoiser.find_donors(labelled, labelled, scale=scale, donors=3)
    assert donors[:, 0].tolist() == list(range(len(donors)))
    assert (labelled.edge[donors] == labelled.edge[:, None]).all()


def test_a_cluster_of_an_unknown_species_is_refused(sites):
    with pytest.raises(ValueError, match="holds Si"):
        denoiser.as_clusters(sites, atoms=12, vocabulary=("O",), edges=EDGES)


def test_rattled_clusters_keep_their_neighbourhood(sites):
    site = next(s for s in sites if s.absorber == "Si" and s.cn == 4)
    rng = np.random.default_rng(0)
    species, positions = rattle.displace(site, rng, rattle=0.03, strain=0.012)
    lengths = np.linalg.norm(positions, axis=1)
    assert (np.diff(lengths) >= 0).all()
    assert Counter(species.tolist()) == Counter(site.species.tolist())
    before = describe("Si", site.species, site.positions, vocabulary=("O", "Si"))
    after = describe("Si", species, positions, vocabulary=("O", "Si"))
    assert 0 < np.abs(after - before)[:4].max() < 0.25


def test_rattling_has_the_stated_size(sites):
    site = sites[0]
    rng = np.random.default_rng(0)
    still = replace(site, positions=np.array([[0, 0, 2.0]]), species=site.species[:1])
    moved = np.array(
        [rattle.displace(still, rng, rattle=0.1, strain=0.0)[1][0] for _ in range(4000)]
    )
    apart = moved - still.positions[0]
    # the atom's and the absorber's own displacement add up
    assert np.sqrt((apart**2).sum(1).mean()) == pytest.approx(0.1 * 2**0.5, rel=0.03)


def test_clusters_are_drawn_by_group_and_usual_ones_thinned(sites):
    rattling = rattle.Rattling(groups=(("amcsd", 1.0),), usual_share=0.0)
    weights = rattle.site_weights(sites, rattling)
    assert weights.sum() == pytest.approx(1)
    assert all(w == 0 for w, s in zip(weights, sites, strict=True) if s.group != "amcsd")


def test_recipe_refuses_unknown_keys(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("denoiser: {stepps: 5}\n")
    with pytest.raises(ValueError, match="stepps"):
        read_recipe(path)


def test_recipe_of_the_shipped_weights_reads():
    from importlib.resources import files

    text = files("nearedge.models.weights") / "siox.yaml"
    recipe = read_recipe(Path(str(text)))
    assert recipe.model_dump(mode="json", exclude_none=True) == read_card("siox").recipe


def test_the_learning_rate_starts_again_once():
    rate = _rate(1000, 400)
    assert rate(400) == pytest.approx(0.02)
    assert rate(401) == _rate(1000, 0)(401) > 0.6
    assert [rate(k) for k in range(300)] == [_rate(400, 0)(k) for k in range(300)]
    assert rate(1000) == pytest.approx(0.02)


def test_weights_that_are_given_another_reading_state_its_recipe(trained, sites, tmp_path):
    """The rest stays: other means are expected, and clusters grow by the same density."""
    card, out, _ = trained
    distant = DistantRecipe(views=2)
    recipe = RECIPE.model_copy(update={"distant": distant, "seed": 5})
    read = read_spectra(load_sites([DATA], span=recipe.grid), recipe)
    assert len(read.bank.values) == recipe.views + 2
    path = tmp_path / "more.safetensors"
    more = refit(
        str(out / "tiny.safetensors"),
        data=[DATA],
        path=path,
        reading=(recipe, read),
        shares=recipe,
        samples=2,
    )
    assert more.recipe["distant"] == distant.model_dump(mode="json")
    assert more.start == card.start
    seen = normalise_xanes(next(s for s in sites if s.absorber == "Si" and s.cn == 4).spectrum)
    before, after = (
        Inverter.load(str(one), device="cpu").expect([seen])[0] for one in (card.path, path)
    )
    assert not torch.allclose(before.mean, after.mean)
    tensors = [load_file(one) for one in (card.path, path)]
    kept = [name for name in tensors[0] if name.startswith(("placement", "diffusion", "outlier"))]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in kept)


def test_weights_that_are_given_another_density_draw_with_it(trained, sites, tmp_path):
    card, out, _ = trained
    torch.manual_seed(0)
    recipe = RECIPE.placement.model_copy(update={"scalars": 12, "surplus": 3})
    density = Placement(placement_size(recipe, atoms=12), elements=card.species)
    path = tmp_path / "more.safetensors"
    more = refit(
        str(out / "tiny.safetensors"),
        data=[DATA],
        path=path,
        placement=(recipe, density.state_dict()),
        samples=2,
    )
    assert more.shares == card.shares
    assert (more.start["surplus"], more.start["size"]["scalars"]) == (3, 12)
    assert more.recipe["placement"] == recipe.model_dump(mode="json")
    seen = normalise_xanes(next(s for s in sites if s.absorber == "Si" and s.cn == 4).spectrum)
    models = [Inverter.load(str(one), device="cpu") for one in (card.path, path)]
    before, after = (model.invert([seen], seeds=[0], samples=4)[0] for model in models)
    assert after.samples.positions.shape == (4, 12, 3)
    assert after.model != before.model
    assert not np.array_equal(after.samples.positions, before.samples.positions)
