"""A file that cannot be imported: it is listed with its error, and stops no other."""

raise ImportError("this machine has no such driver")
