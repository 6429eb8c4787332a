"""What a study will take in memory and time, before it starts."""
