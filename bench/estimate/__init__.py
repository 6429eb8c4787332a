"""Estimate the memory and time of a study before it starts."""
