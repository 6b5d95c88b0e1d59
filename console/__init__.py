"""The console: pages of what a node does, rendered from templates beside this file."""
