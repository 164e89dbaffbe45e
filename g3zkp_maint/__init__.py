"""g3zkp-maint: the maintenance domain of a G3ZKP messenger. Knows nothing of Celery."""

__version__ = "0.1.0"
