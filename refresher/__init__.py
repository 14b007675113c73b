"""Keeps a working ServiceNow OAuth token in Azure Key Vault, unattended."""
