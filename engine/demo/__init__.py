"""A made-up city, for the demo, the tests and the benchmarks.

What the demo expects is worked out with nothing of the engine's own.

The modules, in the order in which data passes them:

    synthetic        a made-up city: lists, policies and a stream of reads, from a seed
    traffic          reads of such a city at a steady rate
    embedded_broker  the in-process broker
    run              the demo: broker, city, worker, and a count of what came out
    city             what the demo sends
    fast_clock       how much of it by when
    expected         what must come of it
    board            what is shown
    lessons          what is shown of policies
    screen           the board on a terminal
    lines            the board in plain lines
"""

__all__ = ["run", "screen", "traffic"]
