"""The demonstration: a node, two minutes of mixed load, and a report."""
