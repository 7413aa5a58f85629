"""The audit's hash chains, sealed and verified, and what changes say to them; pure."""
