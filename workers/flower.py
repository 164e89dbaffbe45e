"""Flower that only shows: `celery -A workers.flower flower` with `basic_auth`.

Flower opens its whole API to whoever is logged in, with it shutting down workers and sending tasks. There is no setting to
have the login without that; so what changes something is taken out here, before Flower builds its application.
"""

from __future__ import annotations

from typing import Any

from flower.urls import handlers
from tornado.web import RequestHandler

from workers.app import app

__all__ = ["app"]

#: It posts a query, and changes nothing.
_READS_BY_POST = frozenset({"TasksDataTable", "NotFoundErrorHandler"})
_CHANGES = ("post", "put", "patch", "delete")


def only_reads(handler: Any) -> bool:
    """Whether a handler of Flower's table (pattern, class, …) answers none of the methods that change something."""
    kind = handler[1] if isinstance(handler, tuple) else handler.handler_class
    if kind.__name__ in _READS_BY_POST:
        return True
    return all(getattr(kind, method) is getattr(RequestHandler, method) for method in _CHANGES)


# In place: Flower's application holds this very list.
handlers[:] = [handler for handler in handlers if only_reads(handler)]
