"""The database that the workers of a study share."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy import Connection, Engine

HEARTBEAT = 10  # seconds; a job whose worker sends none for four of them is lost
_PATIENCE = 2 * HEARTBEAT  # to write to a file: less than what makes a worker a lost one


def open_storage(url: str) -> RDBStorage:
    """Open a database, and make its tables where there are none.

    Args:
        url: as SQLAlchemy reads it.

    Raises:
        ValueError: if it cannot be opened.
    """
    import optuna
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    optuna.logging.set_verbosity(logging.ERROR)
    # Heartbeats are called so, in every job again.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    try:
        parsed = make_url(url)
        is_file = parsed.get_backend_name() == "sqlite"
        if is_file and parsed.database in (None, "", ":memory:"):
            raise ValueError(f"cannot share {url}, which is in memory: name a file, sqlite:///FILE")
        storage = RDBStorage(
            url,
            engine_kwargs={"connect_args": {"timeout": _PATIENCE}} if is_file else None,
            heartbeat_interval=HEARTBEAT,
            grace_period=4 * HEARTBEAT,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
    except (ArgumentError, SQLAlchemyError, ImportError) as error:
        raise ValueError(f"cannot open the storage {url}: {error}") from None
    if is_file:
        _lock_before_reading(storage.engine)
    return storage


def _lock_before_reading(engine: Engine) -> None:
    """Let no process read what another is about to write.

    Optuna takes a waiting job by reading that it waits, then writing that it runs. Other databases
    lock the row that is read; SQLite knows no such lock, and two workers could take the same job.
    """
    from sqlalchemy import event

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python's driver begins nothing by itself

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    engine.dispose()  # connections that are open already
