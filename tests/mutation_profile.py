"""A pytest plugin for `make mutate`: mutmut runs a test often in one process, which Hypothesis takes for a fault."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutation", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
)
settings.load_profile("mutation")
