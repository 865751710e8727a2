"""Prompts, from files and rows in the usual schemas to chat messages."""
