"""Expired messages, proofs and sessions go; what was never saved stays."""
