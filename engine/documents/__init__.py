"""The documents of the contract: their fields, and which are admitted; pure."""
