"""Plates: their normal form, their hash, and what is like them; pure."""
