"""Hub requests take seconds, and if the hub does not answer, one line says what to pass instead."""

import http.server
import threading
from types import SimpleNamespace

import pytest
from huggingface_hub import close_session, constants
from huggingface_hub.errors import HTTPError, RepositoryNotFoundError

from hype import hub
from hype.errors import EnvironmentFault, InputError


@pytest.fixture
def session(monkeypatch):
    """Let a test set the hub's answers."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def answer(head):
        monkeypatch.setattr(hub, "get_session", lambda: SimpleNamespace(head=head))

    return answer


def test_a_name_server_that_hangs_does_not_hold_the_run(session):
    release, ended = threading.Event(), []
    session(lambda url, timeout: ended.append(release.wait(30)))
    assert not hub.hub_is_reachable(timeout_s=0.1) and ended == []
    release.set()


def test_offline_mode_asks_nobody(session, monkeypatch):
    asked = []
    session(lambda url, timeout: asked.append(url) or SimpleNamespace(status_code=200))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not hub.hub_is_reachable()
    assert asked == []


@pytest.fixture
def server(monkeypatch):
    """Use a local server as the hub, without any proxy from the environment."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *arguments: None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    close_session()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    assert not hub.hub_is_reachable(), "it has stopped"
    close_session()


@pytest.mark.parametrize(("status", "reachable"), [(200, True), (301, True), (404, True), (502, False)])
def test_any_answer_but_a_gateways_failure_is_the_hub(server, status, reachable):
    server.RequestHandlerClass.do_HEAD = lambda self: (self.send_response(status), self.end_headers())
    assert hub.hub_is_reachable() is reachable


@pytest.mark.parametrize("reachable", [True, False])
def test_the_cache_alone_is_used_where_the_hub_does_not_answer(monkeypatch, reachable):
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: reachable)
    assert hub.from_hub("x", "y", lambda local_files_only: local_files_only) is not reachable


UNKNOWN = OSError("rbert is no model\nsecond line")
UNKNOWN.__cause__ = RepositoryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))


@pytest.mark.parametrize(
    ("reachable", "error", "kind", "message"),
    [
        (False, OSError(), EnvironmentFault, "rbert: .* cannot be reached .*; give a folder instead"),
        (True, ConnectionError("reset by peer"), EnvironmentFault, "reset by peer"),
        (True, HTTPError("disconnected"), EnvironmentFault, "disconnected"),
        (True, UNKNOWN, InputError, r"rbert could not be loaded from the hub \(rbert is no model\); give a folder"),
    ],
    ids=["unreachable", "broken", "disconnected", "unknown"],
)
def test_what_cannot_be_had_is_named_with_the_way_out(monkeypatch, reachable, error, kind, message):
    def load(local_files_only):
        raise error

    monkeypatch.setattr(hub, "hub_is_reachable", lambda: reachable)
    with pytest.raises(kind, match=message) as caught:
        hub.from_hub("model rbert", "a folder", load)
    assert "\n" not in str(caught.value)
