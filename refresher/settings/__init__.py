"""What may be set, how it is read, and one sentence for each thing that is wrong."""
