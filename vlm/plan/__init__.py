"""What work costs before it runs: memory and time from configs and lengths alone, no weights read."""
