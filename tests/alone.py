"""A pytest plugin: the suite is alone on the machine, before anything that it tests is imported.

What tools set for themselves stays, and `MODEL_SEQUENCES`, the length of the random walks.
"""

from sandbox.alone import be_alone

be_alone(also=("COVERAGE_*", "HYPOTHESIS_STORAGE_DIRECTORY", "MODEL_SEQUENCES", "MUTANT_*", "PYTEST_*"))
