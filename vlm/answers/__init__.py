"""Judge a response: read its boxed answer and compare it with the reference."""
