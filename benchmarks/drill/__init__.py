"""Faults put into the whole system, and the count of what came through.

    python -m benchmarks.drill [NAMES] [--table docs/reliability.md]

Every drill uses a proxy, a Tiled server and a service in processes of their own.
"""
