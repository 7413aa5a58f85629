"""Arrays of bytes: what the wire brings and compiled code reads.

Beside `engine.compiled`, because what only passes such an array on need not import numba.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
