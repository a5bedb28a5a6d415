from benchmarks.drill import soak


def memory(end: float) -> dict[str, dict[str, float]]:
    return {
        when: {"after": n, "service": 300.0, "worker": mb}
        for when, n, mb in (("start", 50, 380.0), ("middle", 200, 380.0), ("end", 400, end))
    }


def test_memory_is_flat_as_long_as_no_process_grows_by_more_than_a_tenth():
    assert soak.is_flat(memory(410.0))
    assert not soak.is_flat(memory(420.0))


def test_memory_that_was_never_looked_at_is_not_flat():
    assert not soak.is_flat({})


def test_the_table_says_after_how_many_spectra_the_memory_was_looked_at():
    counts = {"sent": 400, "complete": 360, "rejected": 40, "duplicated": 0, "half_written": 0}
    record = {**counts, "seconds": 480.0, "per_s": 0.83, "load": "quiet", "rss_mb": memory(390.0)}
    assert soak.table(record).splitlines()[2:] == [
        "| spectra | 50 | 200 | 400 |",
        "| --- | ---: | ---: | ---: |",
        "| resident memory of the service, MB | 300.0 | 300.0 | 300.0 |",
        "| resident memory of the worker, MB | 380.0 | 380.0 | 390.0 |",
    ]
