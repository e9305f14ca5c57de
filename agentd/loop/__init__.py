"""The turn loop: one engine, two wire dialects."""
