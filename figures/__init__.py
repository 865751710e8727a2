"""One picture a module, drawn from records alone."""
