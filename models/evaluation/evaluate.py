"""Evaluate a model beside its baselines: every figure, for each input condition and split."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from zlib import crc32

from nearedge.models.composition import elements_in
from nearedge.models.data.dataset import Site
from nearedge.models.data.instruments import Case, InputCondition, SimulatedInstrument, cases
from nearedge.models.evaluation.answers import answer_of, truth_of
from nearedge.models.evaluation.baselines import Baseline, check_trees, fit_templates, fit_trees
from nearedge.models.evaluation.figures import score
from nearedge.models.evaluation.report import MODEL, ForeignScore, NoiseLevel, Report, ReportRow
from nearedge.models.inversion import Inversion, Quality
from nearedge.models.spectrum import NormalisedSpectrum, Rejected

#: Told the stage, how many of its answers are done, and how many there are.
Progress = Callable[[str, int, int], None]

#: Split of spectra of other materials, for the out-of-distribution score.
FOREIGN = "foreign"
#: Counts at the edge step at which the effect of noise is measured.
NOISE_LEVELS = (1e3, 1e4, 1e5, 1e6)
_CURVES = 24  # answers whose radial distributions are kept for the plots
_BATCH = 8


class Evaluated(Protocol):
    """What is evaluated, such as `nearedge.models.answering.several.Several`."""

    def supports(self, absorber: str, edge: str) -> bool:
        """Tell whether it answers for this edge of this element."""
        ...

    def invert(
        self,
        spectra: Sequence[NormalisedSpectrum],
        *,
        seeds: Sequence[int],
        samples: int,
        quality: Quality,
    ) -> Sequence[Inversion]:
        """Answer every spectrum."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """What is evaluated.

    Attributes
    ----------
    splits
        Which splits; ``foreign`` and ``train`` are used for what they are.
    conditions
        Under which input conditions.
    samples, quality, seed
        How the model is asked; the seed is that of noise and sampler.
    most
        The most rows of a split, except under `InputCondition.CLEAN` and
        `InputCondition.MEASURED`, which take all; None: all.
    composition
        Whether the model is told which elements a site's formula holds, where there is one.
    baselines
        Whether to fit and score the baselines, on the split ``train``.
    noise
        Whether to measure the error against the counts.
    trees
        The number of trees in each forest of the baseline.
    """

    splits: tuple[str, ...] = ("test", "glass")
    conditions: tuple[InputCondition, ...] = tuple(InputCondition)
    samples: int = 32
    quality: Quality = Quality.DEFAULT
    seed: int = 0
    most: int | None = 30
    composition: bool = True
    baselines: bool = True
    noise: bool = True
    trees: int = 100


def evaluate(
    inverter: Evaluated | None,
    sites: Sequence[Site],
    *,
    plan: EvaluationPlan | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Ask the model, and its baselines, about every site of the plan's splits.

    Parameters
    ----------
    inverter
        The model, or None for the baselines alone.
    sites
        The data set with all its splits.
    plan
        What is evaluated; by default the splits ``test`` and ``glass`` under every condition.
    progress
        Called as answers come.

    Raises
    ------
    ModuleNotFoundError
        If the plan asks for the baselines and scikit-learn is not installed.
    """
    plan = plan or EvaluationPlan()
    if plan.baselines:
        check_trees()
    evaluation = _Evaluation(inverter=inverter, sites=sites, plan=plan, progress=progress)
    for condition in plan.conditions:
        evaluation.under(condition)
    if plan.noise and inverter is not None:
        evaluation.against_noise()
    return evaluation.report()


def _few(sites: Sequence[Site], most: int | None, seed: int) -> list[Site]:
    """Return at most so many sites, drawn by their own ids, in their order."""
    if most is None or len(sites) <= most:
        return list(sites)
    drawn = sorted(range(len(sites)), key=lambda k: crc32(f"{seed}|{sites[k].id}".encode()))
    return [sites[k] for k in sorted(drawn[:most])]


def _sampler_seed(case: Case, seed: int) -> int:
    """Return a seed that depends on the row and its condition only."""
    name = f"{seed}|{case.condition}|" + "|".join(site.id for site in case.sites)
    return crc32(name.encode())


def _fit_baselines(
    train: Sequence[Site], condition: InputCondition, *, seed: int, trees: int
) -> Iterator[tuple[str, tuple[str, str], Baseline]]:
    """Fit both baselines to training sites under the condition, for each edge that has spectra."""
    for edge in sorted({(site.absorber, site.edge) for site in train}):
        chosen = [site for site in train if (site.absorber, site.edge) == edge]
        shown = list(cases(chosen, condition=condition, seed=seed + 1))
        if condition is InputCondition.MEAN:
            shown += cases(chosen, condition=InputCondition.CLEAN)
        if all(isinstance(case.spectrum, Rejected) for case in shown):
            continue  # nothing to learn from
        yield "templates", edge, fit_templates(shown)
        yield "trees", edge, fit_trees(shown, trees=trees)


def _curves(case: Case, found: Inversion) -> dict[str, Any]:
    truth = truth_of(case.sites)
    return {
        "absorber": truth.absorber,
        "split": case.sites[0].split,
        "structure": case.sites[0].structure,
        "cn": float(truth.cn.mean()),
        "r": found.estimates.rdf_r.tolist(),
        "answer": {symbol: curve.tolist() for symbol, curve in found.estimates.rdf.items()},
        "truth": {symbol: curve.tolist() for symbol, curve in truth.rdf.items()},
    }


class _Evaluation:
    """One evaluation under way: what was asked and what came back."""

    def __init__(
        self,
        *,
        inverter: Evaluated | None,
        sites: Sequence[Site],
        plan: EvaluationPlan,
        progress: Progress,
    ) -> None:
        self._inverter, self._sites = inverter, sites
        self._plan, self._progress = plan, progress
        self._rows: list[ReportRow] = []
        self._foreign: list[ForeignScore] = []
        self._noise: list[NoiseLevel] = []
        self._curves: list[dict[str, Any]] = []
        self._rejected: dict[str, dict[str, dict[str, int]]] = {}
        self._model = ""

    def under(self, condition: InputCondition) -> None:
        """Score the model and the baselines under one condition."""
        asked = self._asked(condition)
        for case, found, spent in self._answers(asked, condition.value):
            self._rows.append(self._row(case, found, spent))
            if condition is InputCondition.CLEAN and len(self._curves) < _CURVES:
                self._curves.append(_curves(case, found))
        if condition in (InputCondition.CLEAN, InputCondition.MEASURED):
            self._ask_foreign(condition)
        if self._plan.baselines:
            self._rows += self._baseline_rows(asked, condition)

    def against_noise(self) -> None:
        """Score the model at each level of counts, everything else of the instrument as ever."""
        chosen = _few(self._chosen(), self._plan.most, self._plan.seed)
        for counts in NOISE_LEVELS:
            asked = cases(
                chosen,
                condition=InputCondition.MEASURED,
                seed=self._plan.seed,
                instrument=SimulatedInstrument(counts=(counts, counts)),
            )
            answers = self._answers(self._usable(asked), f"{counts:.0e} counts")
            rows = [self._row(case, found, spent).score for case, found, spent in answers]
            self._noise.append(NoiseLevel(counts=counts, scores=tuple(rows)))

    def report(self) -> Report:
        """Gather what was measured."""
        plan = self._plan
        return Report(
            settings={
                "model": self._model,
                "samples": plan.samples,
                "quality": plan.quality.value,
                "seed": plan.seed,
                "most": plan.most,
                "composition": plan.composition,
                "sites": {s: sum(one.split == s for one in self._sites) for s in plan.splits},
            },
            rows=tuple(self._rows),
            rejected=self._rejected,
            foreign=tuple(self._foreign),
            noise=tuple(self._noise),
            curves=tuple(self._curves),
        )

    def _chosen(self) -> list[Site]:
        return [site for site in self._sites if site.split in self._plan.splits]

    def _asked(self, condition: InputCondition) -> list[Case]:
        in_full = condition in (InputCondition.CLEAN, InputCondition.MEASURED)
        most = None if in_full else self._plan.most
        asked: list[Case] = []
        for split in self._plan.splits:
            rows = [site for site in self._sites if site.split == split]
            if condition is not InputCondition.MEAN:
                rows = _few(rows, most, self._plan.seed)
            found = list(cases(rows, condition=condition, seed=self._plan.seed))
            asked += self._usable(found[:most])
        return asked

    def _usable(self, asked: Iterator[Case] | Sequence[Case]) -> list[Case]:
        """Return the cases that have a spectrum, and count those that were rejected."""
        usable = []
        for case in asked:
            reason = self._refused(case)
            if reason:
                splits = self._rejected.setdefault(case.condition.value, {})
                reasons = splits.setdefault(case.sites[0].split, {})
                reasons[reason] = reasons.get(reason, 0) + 1
            else:
                usable.append(case)
        return usable

    def _refused(self, case: Case) -> str | None:
        if isinstance(case.spectrum, Rejected):
            return case.spectrum.reason.value
        first = case.sites[0]
        if self._inverter is None or first.split == FOREIGN:  # these are asked about as others
            return None
        known = self._inverter.supports(first.absorber, first.edge)
        return None if known else f"unsupported {first.absorber} {first.edge}"

    def _answers(
        self, asked: Sequence[Case], stage: str
    ) -> Iterator[tuple[Case, Inversion, float]]:
        """Give each case with the model's answer and its CPU seconds."""
        if self._inverter is None:
            return
        for start in range(0, len(asked), _BATCH):
            batch = asked[start : start + _BATCH]
            begun = time.process_time()
            found = self._inverter.invert(
                [
                    self._told(c.spectrum, c.sites[0].formula)
                    for c in batch
                    if isinstance(c.spectrum, NormalisedSpectrum)
                ],
                seeds=[_sampler_seed(c, self._plan.seed) for c in batch],
                samples=self._plan.samples,
                quality=self._plan.quality,
            )
            spent = (time.process_time() - begun) / len(batch)
            self._progress(stage, start + len(batch), len(asked))
            yield from ((c, a, spent) for c, a in zip(batch, found, strict=True))

    def _told(self, spectrum: NormalisedSpectrum, formula: str) -> NormalisedSpectrum:
        """Return the spectrum with what is known of the composition."""
        if not (self._plan.composition and formula):
            return spectrum
        return replace(spectrum, elements=elements_in(formula))

    def _row(self, case: Case, found: Inversion, spent: float) -> ReportRow:
        self._model = found.model
        first = case.sites[0]
        answer = answer_of(found.samples, found.estimates, absorber=first.absorber)
        return ReportRow(
            condition=case.condition.value,
            method=MODEL,
            split=first.split,
            id=first.id,
            score=score(answer, truth_of(case.sites)),
            cn_prob=float(found.estimates.cn_prob.max()),
            ood_score=found.ood_score,
            ood_flag=found.ood_flag,
            cpu_s=spent,
        )

    def _baseline_rows(
        self, asked: Sequence[Case], condition: InputCondition
    ) -> Iterator[ReportRow]:
        train = [site for site in self._sites if site.split == "train"]
        seed, trees = self._plan.seed, self._plan.trees
        for method, edge, fitted in _fit_baselines(train, condition, seed=seed, trees=trees):
            for case in asked:
                first, spectrum = case.sites[0], case.spectrum
                if isinstance(spectrum, Rejected) or (first.absorber, first.edge) != edge:
                    continue
                yield ReportRow(
                    condition=condition.value,
                    method=method,
                    split=first.split,
                    id=first.id,
                    score=score(fitted.answer(spectrum), truth_of(case.sites)),
                )

    def _ask_foreign(self, condition: InputCondition) -> None:
        foreign = [site for site in self._sites if site.split == FOREIGN]
        known = sorted({(site.absorber, site.edge) for site in self._chosen()})
        asked = self._usable(cases(foreign, condition=condition, seed=self._plan.seed))
        disguised = [as_known for case in asked for as_known in disguises(case, known)]
        for case, found, _ in self._answers(disguised, f"foreign, {condition.value}"):
            self._foreign.append(
                ForeignScore(
                    condition=condition.value,
                    id=case.sites[0].id,
                    asked_as=found.absorber,
                    ood_score=found.ood_score,
                    ood_flag=found.ood_flag,
                )
            )


def disguises(case: Case, known: Sequence[tuple[str, str]]) -> Iterator[Case]:
    """Give the case under its own edge if a model knows that, else under each that it knows."""
    own = (case.sites[0].absorber, case.sites[0].edge)
    for absorber, edge in [own] if own in known else known:
        if isinstance(case.spectrum, NormalisedSpectrum):
            yield replace(case, spectrum=replace(case.spectrum, absorber=absorber, edge=edge))
