"""What should be done, decided from plain values: pure, and the most thoroughly tested part."""
