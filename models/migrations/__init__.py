"""Alembic migrations with dated names, and how they are run (`run.py`). Only the state of the schema is light to import.

`HEAD` is the newest migration; a test holds it against the files, so that a process can tell whether the database fits without
loading Alembic.
"""

HEAD = "2026_11_22_initial"
