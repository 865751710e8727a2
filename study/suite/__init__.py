"""Pairs whose gaps are set on purpose, from one ancestor: `python -m study.suite`, see `study.suite.__main__`."""
