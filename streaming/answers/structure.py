"""Clusters as files that crystallographic programs read: a cluster in the middle of a box."""

from nearedge.streaming.answers import clusters
from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.figures import per_sample
from nearedge.streaming.answers.overlay import typical_sample


def extended_xyz(answer: Answer) -> str:
    """Return all samples as extended XYZ, a frame each."""
    info: dict[str, str] = {
        "key": answer.key,
        "raw_uid": " ".join(answer.runs),
        "edge": answer.edge,
    }
    made = {"model": answer.model, "config": answer.config or "", "seed": str(answer.seed)}
    judged = {"ood_score": f"{answer.ood_score:.4g}"} | clusters.flags_note(answer.doubts)
    return clusters.extended_xyz(
        answer.samples,
        absorber=answer.absorber,
        info=info | made | judged,
        per_sample=per_sample(answer.samples.weights, answer.estimates),
    )


def cif(answer: Answer, sample: int | None = None) -> str:
    """Return one sample, or the most typical one, as CIF.

    Raises
    ------
    IndexError
        If there is no such sample.
    """
    from pymatgen.io.cif import CifWriter

    text = str(CifWriter(_boxed(answer, sample)))
    return f"# {_title(answer, sample)}\n{text}"


def poscar(answer: Answer, sample: int | None = None) -> str:
    """Return one sample, or the most typical one, as POSCAR, atoms sorted by element.

    Raises
    ------
    IndexError
        If there is no such sample.
    """
    from pymatgen.io.vasp.inputs import Poscar

    structure = _boxed(answer, sample)
    return str(Poscar(structure, comment=_title(answer, sample), sort_structure=True))


def _boxed(answer: Answer, sample: int | None):  # type: ignore[no-untyped-def] # imports pymatgen
    return clusters.structure(answer.samples, _chosen(answer, sample), absorber=answer.absorber)


def _chosen(answer: Answer, sample: int | None) -> int:
    return typical_sample(answer.samples) if sample is None else sample


def _title(answer: Answer, sample: int | None) -> str:
    scan = "" if answer.scan_id is None else f" scan {answer.scan_id}"
    doubts = f"; FLAGS: {', '.join(answer.doubts)}" if answer.doubts else ""
    chosen = _chosen(answer, sample)
    weights = answer.samples.weights
    return (
        f"nearedge: {answer.absorber} {answer.edge}{scan} run {answer.run_uid[:8]} "
        f"sample {chosen} of {len(weights)} (weight {weights[chosen]:.4g}), a cluster in a box; "
        f"model {answer.model}, seed {answer.seed}, OOD score {answer.ood_score:.3g}{doubts}"
    )
