"""Rendered pictures and the small records behind them: `python -m figures.gallery` draws them again."""
