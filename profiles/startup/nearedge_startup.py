"""Startup of a simulated beamline session: devices, plans, a RunEngine and its publisher.

Copy it into the ``startup`` folder of an IPython profile, or start a session with it (``ipython``
does as well)::

    python -i -m nearedge.profiles.startup.nearedge_startup

``NEAREDGE_STARTUP_PROFILE`` names the profile to simulate, a shipped one or a file; ``sim`` if it
is not set. Start the proxy first (``bluesky-0MQ-proxy``). Then, for example::

    RE(xanes_scan(station, points=120))
    RE(pressure_ramp(station, [0, 20, 40], measure))

With ``nearedge run`` beside it, ``nearedge`` is a device whose signals are the latest answer::

    RE(follow_change(nearedge, press, lambda: measure(station),
                     chooser=FastestChange(0, 60, closest=1), most=12))

A real beamline session needs only a RunEngine that subscribes ``bluesky.callbacks.zmq.Publisher``,
and the device if plans are to know the answers.
"""

import os
import tempfile
from pathlib import Path

from bluesky import RunEngine
from bluesky.preprocessors import SupplementalData

from nearedge.profiles.startup.follow_change import FastestChange, follow_change
from nearedge.profiles.startup.stop_early import scan_until_known
from nearedge.sim.beamline import connect_publisher, measurement
from nearedge.sim.plans import dark_run, eels_acquire, pressure_ramp, xanes_scan
from nearedge.sim.station import build_station
from nearedge.streaming.acquisition import Answers, NearEdge
from nearedge.streaming.settings.configuration import load_profile

__all__ = [
    "RE",
    "FastestChange",
    "dark_run",
    "eels_acquire",
    "follow_change",
    "measure",
    "nearedge",
    "pressure_ramp",
    "scan_until_known",
    "station",
    "xanes_scan",
]

profile = load_profile((os.environ.get("NEAREDGE_STARTUP_PROFILE", "sim"),), environ=os.environ)
roots = profile.instrument.readable_roots
directory = Path(roots[0]) if roots else Path(tempfile.mkdtemp(prefix="nearedge-"))

RE = RunEngine({})  # before the devices: it owns the loop that connects them
station = build_station(profile, directory=directory)
mono, press, shutter = station.mono, station.press, station.shutter
RE.preprocessors.append(SupplementalData(baseline=[station.ring]))
measure = measurement(profile)

publisher = connect_publisher(profile.simulator)
RE.subscribe(publisher)

if profile.bus.address is not None:
    answers = Answers(profile.bus.address, prefix=profile.bus.prefix.encode())
    nearedge = NearEdge(name="nearedge", answers=answers, timeout_s=120, on_timeout="record")
    RE.subscribe(nearedge.follow)
