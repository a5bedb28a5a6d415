"""Time the writing of results into an embedded Tiled server, 16 samples of 12 atoms each.

python benchmarks/write_latency.py [--results 30] [--at-a-time 3] [--sent [--threads 4]]

As many are written side by side as the service does. With --sent, arrays are sent to the server as
to one on another machine.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nearedge.callbacks.measurement import Measurement, Run
from nearedge.models import (
    Estimates,
    Interval,
    Inversion,
    NormalisedSpectrum,
    Quality,
    Samples,
    Technique,
)
from nearedge.streaming.catalog.connection import connect, results_container
from nearedge.streaming.catalog.embedded import embedded_server, files_folder
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.result_writer import THREADS
from nearedge.streaming.catalog.results import Provenance, Results, ResultWriter
from nearedge.streaming.service.writing import AT_A_TIME

POINTS, SAMPLES, ATOMS = 120, 16, 12


def measurement(rng: np.random.Generator) -> Measurement:
    return Measurement(
        run=Run(uid="run", scan_id=1, time=time.time(), start={}),
        stream="primary",
        spectrum="0",
        columns={name: rng.random(POINTS) for name in ("energy", "i0", "it")},
        complete=True,
        final=True,
        time=time.time(),
    )


def spectrum(rng: np.random.Generator) -> NormalisedSpectrum:
    return NormalisedSpectrum(
        **{name: rng.random(POINTS) for name in ("energy", "mu", "norm", "flat")},
        e0=1846.0,
        edge_step=1.0,
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
    )


def inversion(rng: np.random.Generator) -> Inversion:
    around = Interval(mean=1.6, lo=1.5, hi=1.7)
    return Inversion(
        absorber="Si",
        edge="K",
        samples=Samples(
            species=np.full((SAMPLES, ATOMS), "O"),
            positions=rng.normal(size=(SAMPLES, ATOMS, 3)).astype(np.float32),
            weights=np.full(SAMPLES, 1 / SAMPLES),
        ),
        estimates=Estimates(
            cn_prob=np.full(8, 0.125),
            cn_mean=4.0,
            cn_map=4,
            cn_set=(4,),
            bond=around,
            angle=around,
            bridge=None,
            sample_cn=np.full(SAMPLES, 4),
            sample_bond=rng.random(SAMPLES),
            sample_angle=rng.random(SAMPLES),
            rdf_r=np.linspace(0, 5, 101),
            rdf={"O": rng.random(101), "Si": rng.random(101)},
        ),
        grid=np.linspace(-10, 50, 128),
        condition=rng.random(128),
        ood_score=0.1,
        ood_flag=False,
        misfit=None,
        model="benchmark",
        seed=0,
        quality=Quality.DEFAULT,
        seconds=0.5,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=int, default=30)
    parser.add_argument("--at-a-time", type=int, default=AT_A_TIME)
    parser.add_argument("--sent", action="store_true")
    parser.add_argument("--threads", type=int, default=THREADS)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with embedded_server() as server:
        box = results_container(connect(server.uri, api_key=server.api_key), "inversions")
        files = None if options.sent else ResultFiles(files_folder(server.directory), private=True)
        writer = ResultWriter(box, files=files, threads=options.threads)
        values = [(measurement(rng), spectrum(rng), inversion(rng)) for _ in range(options.results)]

        def write(i: int) -> float:
            provenance = Provenance(config="benchmark", code="0", written=time.time())
            begin = time.perf_counter()
            writer.write(f"result-{i}", *values[i], provenance=provenance)
            return time.perf_counter() - begin

        first = write(0)  # it opens the connections
        begin = time.perf_counter()
        with ThreadPoolExecutor(options.at_a_time) as threads:
            seconds = list(threads.map(write, range(1, options.results)))
        whole = time.perf_counter() - begin
        writer.close()
        complete = sum(1 for _ in Results(box).search())
    p50, p95 = np.percentile(seconds, [50, 95])
    print(
        json.dumps(
            {
                "results": options.results,
                "complete": complete,
                "at_a_time": options.at_a_time,
                "threads": options.threads if options.sent else None,
                "per_s": round(len(seconds) / whole, 1),
                "write_s": {
                    "p50": round(p50, 3),
                    "p95": round(p95, 3),
                    "first": round(first, 3),
                },
                "load": os.getloadavg()[0],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
