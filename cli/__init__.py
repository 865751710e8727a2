"""Commands: flags, progress, and what they exit with."""
