"""Tokens of Microsoft Entra for the app's own identity, which ServiceNow takes as they are."""
