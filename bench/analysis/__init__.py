"""What the numbers say: pure functions of tidy tables, one module a question."""
