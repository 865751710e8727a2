"""Views of a prompt, and how a view and a response become model inputs."""
