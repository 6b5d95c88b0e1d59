"""The budgets of the runtime, measured side by side with what it is compared with: `make bench`."""
