"""How a connection stands, how it stood, and what will come of it."""
