"""Keeps a working ServiceNow OAuth token in Azure Key Vault, unattended."""

import gc

# What a process loads stays: by default the collector looks through it 35 times while it is loaded, for nothing.
gc.set_threshold(50_000)

ISSUES = "https://github.com/OWNER/servicenow-token-refresher/issues"
"""`project.urls` of pyproject.toml, which is not deployed and says who fills it in."""
REPORT_TO = "whoever gave you this program" if "/OWNER/" in ISSUES else ISSUES
"""Where an error that nobody foresaw is reported: no link that leads nowhere."""
RUNBOOK = "docs/runbook/" if "/OWNER/" in ISSUES else f"{ISSUES.removesuffix('issues')}blob/main/docs/runbook/"
"""Where the runbook can be read: a link once there is an address, and the file until then."""
