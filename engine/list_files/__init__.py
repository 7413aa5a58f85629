"""From a file of entries to the difference that is sent.

Pure. The whole file is checked before anything is sent.

The modules, in the order in which data passes them:

    file_kinds     what a file is that is no file of rows
    text           files of lines, with their numbers; UTF-8 or Windows-1252
    column_names   which field a column of another system probably fills
    headers        the delimiter and the columns by a file's first row
    csv_files      rows of cells
    xlsx_files     rows of cells of Excel's own files
    json_files     documents of lines of JSON
    profile_files  what a profile's file may say, and profiles on top of others
    profile        which columns a file has; `data/profiles/` has the profiles that we ship
    date_formats   dates as other systems write them
    entry_fields   the fields of an entry by flat names
    plate_cells    what stands for a plate and is none
    guess_values   what the values of an unknown column look like
    guess_sample   the beginning of a file that no profile describes
    guess          a profile proposed for a file
    notes          rows left out and values left empty, counted
    columns        from a row to a document
    unfilled       fields that no column gives
    identity       which entry a row is for, even a bad one
    rows           from a document to an entry, completed and checked
    digests        entries as hashes, for comparison
    parsed_file    a file's rows, held compactly until they are sent
    removed_terms  what a removal leaves of an entry: the term of its authority
    list_state     the topic's state as digests
    ownership      whose entries a file may change
    difference     what a file would change: the difference that is sent
"""

__all__ = [
    "difference",
    "digests",
    "entry_fields",
    "file_kinds",
    "guess",
    "list_state",
    "notes",
    "ownership",
    "parsed_file",
    "profile",
    "removed_terms",
    "rows",
    "text",
    "unfilled",
]
