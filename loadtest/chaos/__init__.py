"""Kill things while thousands of invocations are under way, and see that none of them is lost.

`make chaos`, `lumbre chaos`, and a short run of it in `make test`.  What it runs are processes as
anybody starts them, and what it believes is what they say over HTTP, what stands in the ledger's
tables, and the line that every run of a function leaves in a file.
"""
