"""One page over all records and runs below a folder: what, when, which weights, a headline and a picture of each.

Two entries can be chosen and looked at side by side. `figures.index.entries` reads, `figures.index.page` writes.
"""
