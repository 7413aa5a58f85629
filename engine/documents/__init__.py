"""The documents of the contract: their fields, and which entries are admissible.

Pure. An error names the field and the rule, never a value of the document.

The modules, in the order in which data passes them:

    codec            the documents from JSON and to JSON, checked
    model            the documents, held to `schemas/`
    fields           what a field may hold
    schema_errors    the error when it holds something else
    droppable        a read without the optional fields that break their rule
    varints          integers of variable length, of Avro and Protobuf
    avro_values      Avro's primitive values, read from hostile bytes
    avro             a read in Avro's binary form, as JSON
    protobuf         a read in Protobuf's binary form, as JSON
    schema_cache     the schemas of a registry, by their ids
    value_formats    the forms in which producers write a read's value
    producer_faults  what producers get wrong for all of their reads
    read_record      a read as the record that goes to Kafka
    hours            weekly windows, and how people write them
    purposes         the purposes file: codes, longest terms, floors of known characters
    admission        whether an entry is admissible
    entry_scan       the fields of many entries in plain JSON, compiled
    read_scan        a read in plain JSON, checked and written again, compiled
    json_tokens      the tokens that they are made of, compiled
    text_numbers     the different texts of a field, compiled
    written_numbers  numbers as JSON and in hex, written, compiled
"""

__all__ = [
    "admission",
    "avro",
    "codec",
    "droppable",
    "entry_scan",
    "fields",
    "hours",
    "json_tokens",
    "model",
    "producer_faults",
    "protobuf",
    "purposes",
    "read_record",
    "read_scan",
    "schema_cache",
    "schema_errors",
    "text_numbers",
    "value_formats",
    "written_numbers",
]
