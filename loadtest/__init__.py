"""Load on a running node, and what it costs: generators, benchmarks and their reports."""
