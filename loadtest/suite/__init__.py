"""The benchmark of functions: CPU against GPU over a ladder of sizes, in Lumbre's own replicas."""
