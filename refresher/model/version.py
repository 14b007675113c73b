"""The version of the product: in the log, in answers, on the command line, and in the name that requests carry.

One place in the code, since neither an installed distribution nor pyproject.toml is there where it is deployed; a test
holds it to the latter.
"""

VERSION = "1.1.0"
USER_AGENT = f"servicenow-token-refresher/{VERSION}"
"""Who asks, for whoever reads the logs of ServiceNow, Key Vault and the storage (RFC 9110 section 10.1.5)."""
