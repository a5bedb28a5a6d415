"""Names that columns of beamline files usually have, by role."""

import re
import unicodedata

# Names without case and punctuation. The first pattern that some column has decides.
NAMES: dict[str, tuple[str, ...]] = {
    "energy": (
        r"energy(_k?ev)?",
        r"(achieved|readback|measured|attained|actual|real|read)_energy(_\w+)?",
        r"energy_(achieved|readback|rbv|rb|attained|actual|encoder|enc|read|bragg)",
        r"omega|hv|photonenergy|monoenergy",  # FEFF's e beside omega is relative to the Fermi level
        r"e|en|ene|energie|energia|energies|k?ev|e_ev|axis_energy|energy_loss",
        r"e_?(photon|ph|mono|dcm|bragg)|(photon|mono|dcm)_e|energi[ae]_k?ev",
        r"(photon|mono|dcm|qexafs|zap|beam|x_ray|incident)_?(energy|ene)(_\w+)?",
        r"bragg1withoffset|\w+_ene",
        r"(?!.*(request|set|step|cmd|target|relative|width)).*energ(y|ie)(_\w+)?",
        r".*energy.*",
    ),
    "angle": (r"angle|theta|bragg(_angle)?|mono_angle|dcm_theta",),
    "i0": (
        r"i0|io|i_0|i_zero|izero|incoming_beam",
        r"(i0|i_0|izero)_?(ic|eh1|eh2|det(ector)?|current|counts|monitor)|monitor|mon",
        r"(pre|post)_?(kb|mono|slits?)_?i0",
    ),
    "it": (
        r"it|i1|itrans|i_t|i_1|itr|i_trans|itransmission|transmitted_beam",
        r"(it|i1|i_1|itrans|trans(mission)?)_?(ic|det(ector)?|current|counts|monitor)",
    ),
    "ir": (r"ir|iref|irefer|i_ref|i_r|i2|i_2|irf|reference_beam",),
    "if": (
        r"ifluor|iff?|ifl|i_f|i_fluor?|ifluo|fluor?|fluorescence|ff|lytle|pips|fluorescence_beam",
        r"(if|ff|fluor?|roi|sdd)_?(sum|total)|(sum|total)_?(if|ff|fluor?|rois?|sdd)|dtc|roi|sdd",
    ),
    "transmission": (r"mu_?trans(mission)?|mu_t|mut|(ln|log)_?i0_?(it|i1|itrans)|xmu_t(rans)?",),
    "fluorescence": (r"mu_?fluo(r|rescence)?|mu_f|muf|(if|iff|ff|ifluor)_?i0|xmu_f(luor)?",),
    "reference": (r"mu_?ref(er|erence)?|(ln|log)_?(it|i1|itrans)_?(ir|iref|i2|irefer)|xmu_ref",),
    "mu": (
        r"xmu|mux",
        r"mu|mu_e|mue|absorption|absorbance|absorption_coefficient|xas|xanes",
        r"norm|normalized|normalised|mu_norm|norm_mu",
        r"flat|mu_flat",
    ),
    "spectrum": (r"spectrum|core_loss", r"counts", r"intensity|data|signal"),
    "a beam": (r"absorbed_beam",),  # NXxas without its mode: of which detector?
}
WEAK = r"counts|intensity|data|signal|y"  # absorption where there is nothing better

# a detector's elements: those corrected for dead time first, then counts
CORRECTED = r"(dtc|dt_?corr|corr|{absorber})_?\d+"
COUNTED = r"(if|iff|ifluor|fluor?|ff|sdd|roi|sca|ge|ssd|xmap|vortex|det)_?\d+"
RATES = {"icr": r"icr_?\d+", "ocr": r"ocr_?\d+"}


_UNIT = re.compile(r"_([munp]?[av]|counts?|k?cps|hz|au)$")  # behind a plain name


def plain(name: str) -> str:
    """Return a name without case, accents and punctuation: ``ln(I0/It)`` is ``ln_i0_it``."""
    text = name.lower().replace("µ", "mu").replace("μ", "mu").replace("χ", "chi")
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def matches(pattern: str, text: str) -> bool:
    """Tell whether a plain name is one that a pattern describes, a unit behind it or not."""
    return any(re.fullmatch(pattern, one) for one in {text, _UNIT.sub("", text)})
