"""Redis, and all that goes by it: leases, run records, Celery and its beat."""

from __future__ import annotations

from pydantic import Field, SecretStr, model_validator

from g3zkp_maint.settings.group import Group, Positive, RedisUrl, Seconds


class Redis(Group):
    """Broker, results, leases, run records and the journal."""

    url: RedisUrl = Field(SecretStr("redis://127.0.0.1:6379/0"), description="where Redis (or Valkey) is")


class Coordination(Group):
    """Leases and run records."""

    lease_ttl_seconds: Seconds = Field(60, description="a lease that is not renewed for this long is lost")
    lease_renew_seconds: Seconds = Field(20, description="how often a holder renews; well under the time to live")
    lease_wait_seconds: Seconds = Field(7200, description="how long a run waits for a lease before it fails")
    retry_seconds: Seconds = Field(10, description="the pause before what waits tries again")
    handoff_seconds: Seconds = Field(300, description="a run between two steps for longer than this is started again")
    grace_seconds: Seconds = Field(
        120, description="a waiting run that nobody has tried again this long past its time is started again"
    )
    reap_seconds: Seconds = Field(30, description="how often runs of dead workers are looked for")
    run_keep_days: Positive = Field(14, description="how long a run's record and result are kept")
    max_attempts: Positive = Field(
        4, description="starts of one run after which it is failed, so that none kills for ever"
    )
    journal_records: Positive = Field(200_000, description="the journal's cap; older records fall out")

    @model_validator(mode="after")
    def _renews_in_time(self) -> Coordination:
        if self.lease_renew_seconds * 2 > self.lease_ttl_seconds:
            raise ValueError(
                f"lease_renew_seconds={self.lease_renew_seconds:g} must be at most half of "
                f"lease_ttl_seconds={self.lease_ttl_seconds:g}, or one late renewal loses the lease"
            )
        return self


class Tasks(Group):
    """Celery: limits and results."""

    soft_limit_seconds: Positive = Field(
        6 * 3600, description="a task is asked to stop after this, unless the calendar says less"
    )
    hard_limit_seconds: Positive = Field(6 * 3600 + 300, description="and is killed after this")
    visibility_seconds: Positive = Field(
        8 * 3600, description="Redis gives a message out again after this; above the hard limit"
    )
    result_days: Positive = Field(14, description="how long Celery keeps results")
    shutdown_seconds: Positive = Field(
        60, description="how long a worker that is told to stop lets its tasks go on; below a pod's grace period"
    )
    starved_seconds: Seconds = Field(
        60, description="a worker that is idle for this long while its queue holds messages does not count as there"
    )

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> Tasks:
        if not self.soft_limit_seconds < self.hard_limit_seconds < self.visibility_seconds:
            raise ValueError(
                f"soft_limit_seconds={self.soft_limit_seconds} < hard_limit_seconds={self.hard_limit_seconds} < "
                f"visibility_seconds={self.visibility_seconds} must hold"
            )
        return self


class Beat(Group):
    """The dispatcher of the calendar."""

    calendar: str = Field("beat_schedule", description="the Python module that holds the calendar as CALENDAR")
    loop_seconds: Seconds = Field(5, description="the longest pause between two looks at the calendar")
    lock_seconds: Positive = Field(
        30, description="a dead leader is succeeded after this; at least 5 times the loop, under 60"
    )
    starting_deadline_seconds: Positive = Field(
        3600, description="a firing missed by less than this still counts as on time"
    )

    @model_validator(mode="after")
    def _lock_outlives_the_loop(self) -> Beat:
        if self.lock_seconds < 5 * self.loop_seconds or self.lock_seconds >= 60:
            raise ValueError(
                f"lock_seconds={self.lock_seconds} must be at least 5 x loop_seconds={self.loop_seconds:g} and under 60"
            )
        return self
