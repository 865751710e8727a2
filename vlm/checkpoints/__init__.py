"""Checkpoints: where they lie, what is refused, and models loaded with their processors."""
