"""Benchmarks: what the constants and the claims of the project rest on."""
