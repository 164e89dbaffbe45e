"""No process is forked while a thread is on its way out: the child would inherit what that one holds."""

from __future__ import annotations

import ctypes
import os
import threading

import pytest
from trees import in_child

from g3zkp_maint.backup.thread_ends import await_thread_ends
from g3zkp_maint.testing.backup_site import BackupSite

pytestmark = pytest.mark.integration


def ending_thread(seconds: float = 0.1) -> int:
    """The system's id of a thread that Python counts as ended, and the system does not for so long: it is giving back what
    is the thread's own, as that of OpenSSL is given back."""
    libc, key = ctypes.CDLL(None), ctypes.c_uint()
    assert libc.pthread_key_create(ctypes.byref(key), ctypes.cast(libc.usleep, ctypes.c_void_p)) == 0
    microseconds = ctypes.c_void_p(int(seconds * 1e6))
    thread = threading.Thread(target=lambda: libc.pthread_setspecific(key, microseconds))
    thread.start()
    while thread in threading.enumerate():
        os.sched_yield()
    assert thread.native_id is not None
    assert thread.native_id in tasks()
    return thread.native_id


def tasks() -> set[int]:
    return set(map(int, os.listdir("/proc/self/task")))


def test_a_thread_that_is_ending_is_waited_for() -> None:
    ending = ending_thread()
    await_thread_ends()
    assert ending not in tasks()


def test_a_thread_that_does_not_end_holds_up_nobody_for_long() -> None:
    ending = ending_thread(0.5)
    await_thread_ends(patience=0.01)
    assert ending in tasks()


def test_the_processes_of_a_backup_are_forked_when_no_thread_is_ending(site: BackupSite) -> None:
    for number in range(4):
        (site.tree / str(number)).write_bytes(os.urandom(700_000))
    forks: list[bool] = []

    def work() -> None:
        put, endings = site.store.put, set()

        def put_and_leave(*args: object, **options: object) -> object:
            stored = put(*args, **options)
            endings.add(ending_thread())
            return stored

        site.store.put = put_and_leave
        os.register_at_fork(before=lambda: forks.append(bool(endings & tasks())))
        made = site.back_up(processes=2)
        assert len(made.archives) > 1
        assert forks
        assert not any(forks)

    # In a child, as nobody takes back what was registered for forks.
    assert in_child(work) == 0
