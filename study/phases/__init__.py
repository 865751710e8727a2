"""When does steering help? Arms compared on pairs whose gaps are set: `python -m study.phases`."""
