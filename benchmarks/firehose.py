"""Count what arrives of 1000 events/s of 1024 floats that cross a stock proxy.

    python benchmarks/firehose.py [--seconds 60] [--rate 1000] [--serializer pickle]

Publisher and proxy are processes of their own, and another one keeps a core busy, as the inversion
does. The documents are taken and decoded here. Ends with exit code 1 if one is missing.
"""

import argparse
import json
import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections import Counter
from multiprocessing.synchronize import Event

import msgpack
import msgpack_numpy
import numpy as np
import orjson
from bluesky.callbacks.zmq import Publisher

from nearedge.sim.proxy import running_proxy
from nearedge.streaming.settings import profile
from nearedge.streaming.sources.zmq_source import ZmqSource

PATIENCE_S = 60.0
SERIALIZERS = {
    "pickle": pickle.dumps,
    "msgpack": lambda doc: msgpack.packb(doc, default=msgpack_numpy.encode),
    "json": lambda doc: orjson.dumps(doc, option=orjson.OPT_SERIALIZE_NUMPY),
}


def publish(address: str, serializer: str, rate: float, events: int, heard: Event) -> None:
    """Publish paced events; before them, until it is heard, start documents."""
    publisher = Publisher(address, prefix=b"fire", serializer=SERIALIZERS[serializer])
    while not heard.wait(0.02):
        publisher("start", {"uid": "run", "time": time.time()})
    counts, begin = np.random.default_rng(0).random(1024), time.monotonic()
    for i in range(events):
        time.sleep(max(0.0, begin + i / rate - time.monotonic()))
        publisher("event", event(i, counts))
    publisher("stop", {"uid": "stop", "run_start": "run", "time": time.time()})
    heard.clear()  # when the last is out; the parent ends this process
    time.sleep(3600)


def event(i: int, counts: np.ndarray) -> dict:
    return {
        "uid": f"event-{i}",
        "descriptor": "descriptor",
        "seq_num": i + 1,
        "time": time.time(),
        "data": {"counts": counts, "i0": 1.0},
        "timestamps": {"counts": 1.0, "i0": 1.0},
        "filled": {},
    }


def burn() -> None:
    while True:
        np.linalg.svd(np.random.default_rng(0).random((300, 300)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--serializer", choices=SERIALIZERS, default="pickle")
    options = parser.parse_args()
    events = int(options.seconds * options.rate)
    context = multiprocessing.get_context("spawn")
    with running_proxy() as proxy:
        source = ZmqSource(profile.ZmqSourceSettings(address=proxy.outward, prefix="fire"))
        source.start()
        source.ready.wait(60)
        heard = context.Event()
        arguments = (proxy.inward, options.serializer, options.rate, events, heard)
        children = [
            context.Process(target=publish, args=arguments, daemon=True),
            context.Process(target=burn, daemon=True),
        ]
        for child in children:
            child.start()
        patience = threading.Timer(options.seconds + PATIENCE_S, source.stop)
        patience.start()  # a stop document that is lost must not hang the benchmark
        report = consume(source, heard)
        patience.cancel()
        for child in children:
            child.kill()
        source.stop()
    print(json.dumps({"sent": events, "serializer": options.serializer, **report}, indent=1))
    return 0 if report["distinct"] == events else 1


def consume(source: ZmqSource, heard: Event) -> dict:
    """Take every document until the stop, or until none has come for a while."""
    names: Counter[str] = Counter()
    seen, delays, waiting, begin = set(), [], 0, 0.0
    for name, doc in source.documents():
        names[name] += 1
        if name == "start":
            heard.set()
        elif name == "stop":
            break
        else:
            begin = begin or time.monotonic()
            seen.add(doc["seq_num"])
            delays.append(time.time() - doc["time"])
            waiting = max(waiting, source.waiting_bytes)
    seconds = time.monotonic() - begin
    p50, p99, worst = np.percentile(delays, [50, 99, 100]) * 1e3
    return {
        "received": names["event"],
        "distinct": len(seen),
        "bad": source.bad,
        "overflowed": source.overflowed,
        "disconnects": source.disconnects,
        "events_per_s": round(names["event"] / seconds, 1),
        "most_waiting_mb": round(waiting / 1e6, 3),
        "delay_ms": {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(worst, 2)},
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
