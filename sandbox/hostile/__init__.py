"""Peers that are slow or hostile, over raw sockets: each a few lines, with the report or the trial that it comes from.

A peer stands in for any service that a client speaks HTTP with; it knows nothing of who that is.
"""
