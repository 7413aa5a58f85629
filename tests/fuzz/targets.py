"""Every target, by its name."""

from __future__ import annotations

from typing import Final

from tests.fuzz import of_batches, of_documents, of_doors, of_files, of_words
from tests.fuzz.fuzzer import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for target in (
        *of_batches.TARGETS,
        *of_documents.TARGETS,
        *of_files.TARGETS,
        *of_words.TARGETS,
        *of_doors.TARGETS,
    )
}
