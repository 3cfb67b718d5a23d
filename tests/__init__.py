"""The tests of socketd, in the same tree as the code: one module for each module."""

import os

from hypothesis import HealthCheck, settings

from tests.support.limits import limit_tests

# That a busy machine draws slowly is no fault of what is tested. The rest is as it was: with CI
# hypothesis draws the same each time.
settings.register_profile(
    "busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

limit_tests()

# Debian 13 gives users 0002, by which what tests make could be written by their group.
os.umask(0o022)
