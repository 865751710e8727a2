"""The loss of an objective from hidden states, a chunk of tokens at a time."""
