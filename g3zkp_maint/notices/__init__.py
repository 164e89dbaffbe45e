"""Telling people: what, how urgent, and by which services; each once."""

from g3zkp_maint.notices.base import Notice, Notifier, Severity
from g3zkp_maint.notices.once import Delivery, Notices

__all__ = ["Delivery", "Notice", "Notices", "Notifier", "Severity"]
