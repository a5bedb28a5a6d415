"""IPython startup of a simulated beamline session: devices, plans, a RunEngine and its publisher.

Use it as a file::

    ipython -i -m nearedge.profiles.startup.nearedge_startup

or copy it into the ``startup`` folder of an IPython profile. ``NEAREDGE_STARTUP_PROFILE`` names the
profile to simulate (``sim`` by default). Then, for example::

    RE(xanes_scan(station, points=120))
    RE(pressure_ramp(station, [0, 20, 40], measure))

A real beamline session needs only the last paragraph of this file: its own RunEngine subscribes the
publisher, and nothing of nearedge.
"""
