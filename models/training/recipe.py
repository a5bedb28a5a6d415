"""The recipe of a model: everything that its training was told, as YAML."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from nearedge.models.data.gap import residual_modes
from nearedge.models.spectrum import Array


class RecipeSection(BaseModel):
    """A part of a recipe: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MixtureRecipe(RecipeSection):
    """Shares of the kinds of training spectra; what is left of 1 is clean."""

    measured: float = Field(default=0.45, ge=0, le=1, description="seen by a random instrument")
    partial: float = Field(default=0.25, ge=0, lt=1, description="the first part of a scan")
    mean: float = Field(default=0.1, ge=0, le=1, description="averaged over sites of one structure")
    unlike: float = Field(default=0.1, ge=0, le=1, description="averaged over any sites")
    least: float = Field(
        default=0.3, gt=0, le=1, description="smallest share that a partial scan keeps"
    )
    jitter: float = Field(default=0.2, ge=0, description="extra error of e0, eV")


class DistantRecipe(RecipeSection):
    """Views as far from the calculation as measurements are, beside those of `MixtureRecipe`."""

    views: int = Field(default=12, ge=1, description="of each spectrum")
    partial: float = Field(default=0.3, ge=0, lt=1, description="the first part of a scan")


class EncoderRecipe(RecipeSection):
    """The ensemble that reads spectra."""

    width: int = Field(default=128, ge=8, description="of the hidden layers")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="share of hidden numbers dropped")
    filters: int = Field(
        default=0, ge=0, description="channels of convolutions that read first; 0: none"
    )
    folds: int = Field(
        default=4, ge=2, description="parts of the families; each member leaves out one"
    )
    rounds: int = Field(
        default=2, ge=1, description="partitions into folds; members = folds x rounds"
    )
    steps: int = Field(default=1500, ge=1, description="of each member")
    batch: int = Field(default=64, ge=1, description="spectra per step")
    rate: float = Field(default=2e-3, gt=0, description="highest learning rate")
    decay: float = Field(default=0.1, ge=0, description="weight decay")
    noise: float = Field(default=0.02, ge=0, description="extra noise and slope on the values")
    ridge_views: int = Field(
        default=4, ge=1, description="views of each spectrum that a kernel ridge learns from"
    )


class DenoiserRecipe(RecipeSection):
    """The diffusion model."""

    channels: int = Field(default=32, ge=4, description="width")
    layers: int = Field(default=3, ge=1, description="rounds of messages")
    radial: int = Field(default=12, ge=4, description="radial functions")
    degree: int = Field(
        default=2, ge=1, le=3, description="highest degree of the spherical harmonics"
    )
    pool: int = Field(default=24000, ge=1, description="rattled clusters without a spectrum")
    labelled: float = Field(
        default=0.35, ge=0, le=1, description="share of clusters with a real spectrum"
    )
    dropped: float = Field(default=0.05, ge=0, le=1, description="share that is told nothing")
    donors: int = Field(
        default=6, ge=1, description="like sites whose error of expectation is borrowed"
    )
    steps: int = Field(default=8000, ge=1, description="of training")
    restart: int = Field(
        default=0, ge=0, description="step at which the learning rate starts again; 0: never"
    )
    batch: int = Field(default=64, ge=1, description="clusters per step")
    rate: float = Field(default=2e-3, gt=0, description="highest learning rate")
    decay: float = Field(default=0.01, ge=0, description="weight decay")
    ema: float = Field(default=0.998, gt=0, lt=1, description="of the averaged weights")
    log_mean: float = Field(default=-1.3, description="mean of ln(noise / Å)")
    log_spread: float = Field(default=1.0, gt=0, description="standard deviation of ln(noise / Å)")
    start: float = Field(
        default=0.15, gt=0.02, description="noise on the grown clusters that samples start from, Å"
    )


class PlacementRecipe(RecipeSection):
    """The density that clusters grow by, one atom after the other, and how it is drawn from."""

    scalars: int = Field(default=64, ge=4, description="0e channels of each atom")
    vectors: int = Field(default=32, ge=2, description="1o channels of each atom")
    layers: int = Field(default=2, ge=1, description="rounds of messages")
    filters: int = Field(default=32, ge=1, description="channels that judge a place")
    pool: int = Field(default=14000, ge=1, description="rattled clusters without a spectrum")
    donors: int = Field(
        default=6, ge=1, description="like sites whose error of expectation is borrowed"
    )
    steps: int = Field(default=24000, ge=1, description="of training")
    batch: int = Field(default=24, ge=3, description="clusters per step")
    labelled: float = Field(default=0.35, ge=0, le=1, description="share of clusters with spectra")
    exact: float = Field(default=0.25, ge=0, le=1, description="share that is told exactly")
    rate: float = Field(default=1.5e-3, gt=0, description="highest learning rate")
    decay: float = Field(default=0.01, ge=0, description="weight decay")
    ema: float = Field(default=0.998, gt=0, lt=1, description="of the averaged weights")
    temperature: float = Field(
        default=0.45, gt=0, description="below 1 likely places are drawn more often than they are"
    )
    surplus: int = Field(default=2, ge=1, description="clusters that grow for each that is kept")


class SharesRecipe(RecipeSection):
    """The networks that read the mean coordination number of averages."""

    members: int = Field(default=3, ge=1, description="networks of each edge")
    width: int = Field(default=144, ge=1, description="of the hidden layers")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share of hidden numbers dropped")
    spectra: int = Field(default=9000, ge=1, description="averages and single spectra of each edge")
    distant: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share as far from the calculation as measurements; without it none is",
    )
    steps: int = Field(default=2500, ge=1, description="of training, of each network")
    batch: int = Field(default=128, ge=1, description="spectra per step")
    rate: float = Field(default=2e-3, gt=0, description="highest learning rate")
    decay: float = Field(default=0.2, ge=0, description="weight decay")
    weight: float = Field(default=1.0, ge=0, le=1, description="share in the mean CN of mixtures")


class Recipe(RecipeSection):
    """How to train a model."""

    seed: int = Field(default=0, ge=0, description="of everything random")
    species: tuple[str, ...] = Field(default=("O", "Si"), description="neighbours' vocabulary")
    atoms: int = Field(default=30, ge=1, le=48, description="neighbours that the denoiser moves")
    grid: tuple[float, float, float] = Field(
        default=(-10.0, 60.0, 0.5), description="energies that the model reads, eV from half height"
    )
    views: int = Field(
        default=33, ge=1, description="views of each spectrum, the clean one included"
    )
    mixture: MixtureRecipe = MixtureRecipe()
    distant: DistantRecipe | None = Field(
        default=None, description="further views; without it there are none"
    )
    residuals: Path | None = Field(
        default=None,
        description="Parquet of what calculations leave of measurements, seen from where you "
        "train; without it residuals are smooth",
    )
    encoder: EncoderRecipe = EncoderRecipe()
    denoiser: DenoiserRecipe = DenoiserRecipe()
    placement: PlacementRecipe = PlacementRecipe()
    shares: SharesRecipe | None = Field(
        default=None, description="what reads the mean of averages; without it none is trained"
    )
    report_every: int = Field(
        default=500, ge=1, description="steps between checkpoints and log lines"
    )

    def residual_modes(self) -> Array | None:
        """Read what measurements leave of calculations, if the recipe names a file of it."""
        return None if self.residuals is None else residual_modes(self.residuals)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    pydantic.ValidationError
        If a key is unknown or a value out of range.
    """
    return Recipe.model_validate(yaml.safe_load(Path(path).read_text()) or {})
