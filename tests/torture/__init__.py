"""A fault campaign on a real Kafka: is any match lost, invented or, where promised, doubled?

`python -m tests.torture --seconds 600 --seed 1`, or `make torture`. It starts a Kafka of its own
and workers as people run them, each behind a network of its own that can fail, sends reads and
changes the lists all the while, and breaks things by a schedule that the seed makes. Every
round of faults ends with a calm in which everything must drain, and then everything is held to
what an oracle says that shares no code with the engine.

    schedule        which faults, when and at whom: a pure function of the seed
    campaign        one run: rounds of faults, calms, and what is found in them
    site            the topics, who follows and judges them, and a copy where all goes on
    faults          how each kind of fault is done, and undone
    workers         the workers, and the supervisor that starts one again which failed
    wrapped_worker  the program of a worker: its clock can be stepped
    cluster         the brokers, with a listener behind each worker's network
    moving          a topic's replicas, moved between the brokers
    disk            what lets the broker's disk be full
    load            the reads, at their pace
    churn           control topics that change all the while
    town            what is sent: documents whose outcome is known
    evidence        what lies on the topics, and when it was seen there
    follower        follows the topics and the commits; what has not drained yet
    waits           bounds of all waits, and what they waited for
    judge           what is demanded and what is allowed; finds what is wrong
    report          the table
"""
