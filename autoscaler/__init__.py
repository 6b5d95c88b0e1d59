"""Decide how many replicas each queue deserves, and make it so here or on a cluster."""
