"""What drives the product inside the sandbox: the demo, a session that stays, and the host in between."""
