"""Pictures, from the forms in which rows hold them to 8-bit RGB."""
