"""The partner that stores: its clients, what is read and written there, and what stands in tags."""
