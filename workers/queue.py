"""The only door from web to workers: queue names, `wake`, and long jobs by dotted name. Ids only, JSON only (DESIGN 1).

The inbox is the queue; what is rung here may be lost at any time and is only slow then, never wrong.
"""
