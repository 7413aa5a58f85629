"""A made-up city, for the demo, the tests and the benchmarks."""
