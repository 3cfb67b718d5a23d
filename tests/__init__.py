"""The tests of socketd, in the same tree as the code: one module for each module."""

from hypothesis import HealthCheck, settings

from tests.support.limits import limit_tests

# That a busy machine draws slowly is no fault of what is tested. The rest is as it was: with CI
# hypothesis draws the same each time.
settings.register_profile(
    "busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

limit_tests()
