"""Who takes part, by operation."""
