"""Pictures, one in each module, drawn from records alone; `figures.catalogue` has them by name."""
