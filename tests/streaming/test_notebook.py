"""The cells of docs/tutorial-notebook.md, run one after another."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
import yaml
from matplotlib import pyplot

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum
from nearedge.streaming.catalog import connect, results_container
from nearedge.streaming.embedded import embedded_server
from nearedge.streaming.results import Provenance, ResultWriter

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-notebook.md"
SCANS = 4


def cells() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def kept(
    tmp_path: Path,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> Path:
    """A folder like that of `nearedge demo --keep kept`, with a few results in its catalog."""
    catalog = tmp_path / "kept" / "catalog"
    with embedded_server(catalog) as server:
        client = connect(server.uri, api_key=server.api_key)
        writer = ResultWriter(results_container(client, "inversions"))
        for scan in range(SCANS):
            by = Provenance(config="c0ffee", code="0.1.0", written=1.0 + scan)
            run = replace(measurement.run, uid=f"run-{scan}", scan_id=scan)
            context = {"press-pressure": 10.0 * scan}
            measured = replace(measurement, run=run, time=1000.0 + scan, context=context)
            inversion = make_inversion(cn=4 + scan / 2, bond=1.6 + scan / 20)
            writer.write(f"k{scan}", measured, spectrum, inversion, provenance=by)
        writer.close()
        client.context.http_client.close()
    settings = {"catalog": {"directory": str(catalog)}}
    (tmp_path / "kept" / "profile.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


@pytest.mark.system
def test_the_tutorial_runs_from_top_to_bottom(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(kept)
    matplotlib.use("agg")
    names: dict[str, object] = {}
    for cell in cells():
        exec(compile(cell, str(PAGE), "exec"), names)
    pyplot.close("all")
    told = capsys.readouterr().out
    assert "Si K edge" in told
    assert "coordination number 5.50" in told
    assert f"of {SCANS} answers have no flag" in told
    assert "(2, 3, 3) samples" in told
    for name in ("latest.pdf", "shells.pdf", "trend.pdf"):
        assert (kept / name).read_bytes().startswith(b"%PDF")
    assert (kept / "clusters.xyz").read_text().count("Properties=") == 2
    assert len((kept / "trend.csv").read_text().splitlines()) == SCANS + 1
    assert (kept / "cluster.cif").read_text().startswith("# generated using pymatgen")
