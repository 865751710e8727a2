"""Backward passes of many seeds at once, node by node through a view's graph."""
