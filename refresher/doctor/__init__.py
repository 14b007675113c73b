"""What stands in the way: every precondition tried, nothing changed."""
