"""Plates: their normal form, their hash, and how a read one resembles a listed one.

Pure. `likeness` alone defines which plates are alike.

The modules, in the order in which data passes them:

    normal_form    one spelling for one plate
    plate_hash     the 64-bit xxh3 of a plate, compiled
    misread_model  how probable each misread is
    misreads       the table of misreads: look-alikes, and how often cameras misread
    likeness       whether a plate as read may be a plate as listed, and where they differ
    confidence     how probable it is that the plate is the listed one
    compiled_confidence  the same for an exact plate, compiled
"""

__all__ = ["compiled_confidence", "confidence", "likeness", "misreads", "normal_form", "plate_hash"]
