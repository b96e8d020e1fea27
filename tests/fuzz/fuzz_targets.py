"""Everything that reads a stranger's file or a model's text, each with good examples to break.

A target takes a file and may do two things: return, or raise PersonaeError with one line. Anything
else is a traceback in a user's face, and a fault.
"""

from __future__ import annotations

from fuzz_binaries import BINARIES
from fuzz_folders import FOLDERS
from fuzz_texts import TEXTS
from fuzz_words import WORDS

TARGETS = (*TEXTS, *WORDS, *BINARIES, *FOLDERS)
