"""Fuzzing (FAULTS F19, F20, F22, F27, F29, F30, S64): hostile bytes and hostile JSON through verifier, envelope, reader, rules,
framing, endpoint and store.

An input is bytes, for every target; what a target makes of them is its own affair. `make test` replays `corpus/` and adds some
thousands of fresh mutations; `make fuzz` runs for as long as it is told, and keeps what reached something new.
`docs/fuzzing.md` says how to read it.
"""

from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
