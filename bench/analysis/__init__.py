"""Compute what the numbers say: pure functions of tidy tables, one module per question."""
