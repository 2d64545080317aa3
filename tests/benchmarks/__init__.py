"""`make bench`: how fast it is, on the real processes as `make run` ships them. docs/performance.md says how to read it."""
