"""Reports, statuses and histories as JSON, words, tables and a page."""
