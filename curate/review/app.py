"""The FiftyOne App, served on loopback until it is closed."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fiftyone.core.service import ServerService, ServiceException

from curate.errors import ServiceError
from curate.review.mongod import HOST


def check_free(port: int) -> None:
    """Make sure that the App can listen on ``port``, at once: FiftyOne needs a minute to say no.

    Raises:
        ServiceError: something listens there already.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServiceError(
                f"the App cannot listen on {HOST}:{port}: {error.strerror}.\n"
                "Next: close what listens there (another curate review?), or choose another port "
                "with --port N"
            ) from error


@contextmanager
def serving(port: int) -> Iterator[ServerService]:
    """Serve the App on ``port``; it ends with this process, however that ends.

    Only FiftyOne's server is started, not a session: that saves 15 s and the welcome banner, and
    opens no browser.

    Raises:
        ServiceError: the port is taken, or the server does not answer within a minute.
    """
    check_free(port)
    try:
        server = ServerService(port, address=HOST, do_not_track=True)
    except ServiceException as error:
        raise ServiceError(
            f"the FiftyOne App did not start on {HOST}:{port}: {error}.\n"
            "Next: fiftyone config   shows what it reads; curate review --no-app pushes without it"
        ) from error
    try:
        yield server
    finally:
        server.stop()
