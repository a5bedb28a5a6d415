"""The documents: their links lead somewhere, and they name what the code has."""

import re
import unicodedata
from pathlib import Path

import pytest

from nearedge.models import Reason
from nearedge.models.answering.estimate import STATED_CN_CLASSES
from nearedge.streaming.service.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for folder in ("docs", "profiles", "sim", "tests", "benchmarks")
    for page in (ROOT / folder).rglob("*.md")
) + sorted(ROOT.glob("*.md"))
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {slug(re.sub(r"[`*]", "", heading)) for heading in headings}


def slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", unicodedata.normalize("NFC", heading.lower()))
    return kept.strip().replace(" ", "-")


def is_local(link: str) -> bool:
    return not re.match(r"[a-z]+:", link)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_somewhere(page: Path) -> None:
    for link in filter(is_local, LINK.findall(prose(page))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def rows(page: str, heading: str) -> set[str]:
    """Return the names in the first column of the table below a heading."""
    part = (ROOT / "docs" / page).read_text("utf-8").split(f"# {heading}\n", 1)[1]
    table = part.split("\n#", 1)[0]
    firsts = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    names = {name for first in firsts for name in re.findall(r"`([^`]+)`", first)}
    return {name.partition(": ")[0] for name in names}  # a flag may say which: "dead-element: 3"


def test_every_reason_of_a_rejection_is_described() -> None:
    assert rows("flags.md", "Reasons") == {reason.value for reason in Reason}


def test_the_page_and_the_documents_know_the_same_flags_and_reasons() -> None:
    script = (ROOT / "streaming" / "page" / "static" / "flags.js").read_text("utf-8")
    flags = set(re.findall(r'^  "([a-z-]+)":', script.split("HARMLESS")[0], re.MULTILINE))
    reasons = set(re.findall(r'^  "([a-z-]+)":', script.split("REASONS")[1], re.MULTILINE))
    # a flag may say which: "dead-element: 3"
    assert flags == {flag.partition(": ")[0] for flag in rows("flags.md", "Flags")}
    assert reasons == {reason.value for reason in Reason}


def test_the_documents_quote_what_the_page_says_of_a_flag() -> None:
    script = (ROOT / "streaming" / "page" / "static" / "flags.js").read_text("utf-8")
    words = dict(
        re.findall(r'^  "([a-z-]+)": "([^"]+)"', script.split("HARMLESS")[0], re.MULTILINE)
    )
    part = (ROOT / "docs" / "flags.md").read_text("utf-8").split("# Flags\n", 1)[1]
    table = part.split("\n#", 1)[0]
    quoted = re.findall(r"^\| `([a-z-]+)(?:: ([^`]*))?` \| ([^|]+) \|", table, re.MULTILINE)
    assert {(name, text) for name, _, text in quoted} == {
        (name, ": ".join(filter(None, (words[name], which)))) for name, which, _ in quoted
    }


def test_the_page_and_the_answers_have_the_same_highest_cn() -> None:
    script = (ROOT / "streaming" / "page" / "static" / "format.js").read_text("utf-8")
    assert re.findall(r"^const HIGHEST_CN = (\d+);$", script, re.MULTILINE) == [
        str(STATED_CN_CLASSES - 1)
    ]


def test_every_metric_is_described() -> None:
    told = rows("metrics.md", "Metrics")
    made = {family.name for family in Metrics().registry.collect()}
    assert {name.removesuffix("_total") for name in told} >= made
