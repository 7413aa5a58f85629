"""A made-up city, for the demo, the tests and the benchmarks.

What the demo expects is computed without any of the engine's own code.

The modules, in the order in which data passes them:

    synthetic        a made-up city: lists, policies and a stream of reads, from a seed
    traffic          reads of such a city at a steady rate
    embedded_broker  the in-process broker
    run              the demo: broker, city, worker, and a count of the matches
    worker_process   the worker's own process, as the demo sees it
    worker_side      what that process runs
    warm_up          what it compiles and loads before the first read
    city_data        the demo's sources, kinds of entries and vehicles
    city             the lists, policies and reads of the demo
    fast_clock       the city's time, and its traffic by the hour
    feed             the reads on their way to Kafka
    expected         the expected matches
    board            the state that the demo shows
    lessons          what the demo explains about policies
    screen           the board on a terminal
    lines            the board in plain lines
"""

__all__ = ["run", "screen", "traffic"]
