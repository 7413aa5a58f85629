"""Our own programs: the worker, and the floor beneath it. Each is a process of its own."""
