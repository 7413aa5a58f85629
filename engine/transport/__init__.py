"""Reads in from Kafka, through Faust, which no other package knows.

Only `Fetch.done` lets an offset be committed.

The modules, in the order in which data passes them:

    app       the Faust app that hands the fetches over
    consumer  Faust's driver: whole fetches instead of one message a record
    offsets   which offset of a partition may be committed
    memory    little of the reads stays in memory once they are processed
"""
