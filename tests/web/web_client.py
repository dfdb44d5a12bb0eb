"""A client of the application, without a socket: it counts as a program, for it sends no ``Origin``."""

from contextlib import contextmanager

import pytest

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from starlette.testclient import TestClient

from earmark.web.app import create_app
from earmark.web.settings import WebSettings

LOCAL = "http://127.0.0.1:8000"


@contextmanager
def client_of(folder, **settings):
    """A client of a project folder; jobs and the worker run while it is open."""
    app = create_app(WebSettings(folder, **settings))
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client
