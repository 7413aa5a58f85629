"""Cases that try to break the contract's promises, one file for each kind.

Each case quotes the sentence of the contract that it holds. `sides` gives every record to the
worker's matcher and to `tests.models.contract_oracle`, and compares what they make of it.
"""
