"""The partner that issues tokens: its protocol without I/O, and the requests that speak it."""
