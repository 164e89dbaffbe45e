"""When maintenance is due. Pure: moments in, moments out; no clock, no Redis, no Celery."""
