"""Who may refresh a connection: one refresher at a time, on one machine (a file) or everywhere (a blob)."""
