"""What all tests share."""

from hypothesis import settings

# a busy machine must not fail a test for being slow: pytest-timeout ends what hangs
settings.register_profile("nearedge", deadline=None)
settings.load_profile("nearedge")
