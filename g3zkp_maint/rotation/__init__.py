"""Rotation of the messenger's keys (not of ours: those are in `g3zkp_maint.keys`).

How it goes, and what is left by a kill at each step: carry_out.py. What the Secret holds: entries.py.
"""
