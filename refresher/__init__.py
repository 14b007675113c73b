"""Keeps a working ServiceNow OAuth token in Azure Key Vault, unattended."""

ISSUES = "https://github.com/OWNER/servicenow-token-refresher/issues"
"""Where an error that nobody foresaw is reported; `project.urls` of pyproject.toml, which is not deployed."""
