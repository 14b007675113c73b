"""The network as every client meets it: which proxy, which address, and how long and how large at the most."""
