"""Kills: every failpoint in every way, and a nemesis over real processes (FAULTS 8.2 and 8.3). `make chaos` runs all of it."""
