"""Lumbre on a cluster: functions and an overlay's values in, Kubernetes objects out."""
