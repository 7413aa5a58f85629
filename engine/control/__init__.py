"""The control plane: lists and policies followed, the gate, changes audited."""
