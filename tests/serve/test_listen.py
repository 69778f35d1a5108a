"""Ports and sockets that are taken, stale, or not to be had."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from peerwatch.errors import ConfigError
from peerwatch.serve.address import Address
from peerwatch.serve.listen import bind_tcp, bind_unix, free_port


@pytest.fixture
def taken() -> int:
    """A port with a living owner."""
    with socket.create_server(("127.0.0.1", 0)) as owner:
        yield owner.getsockname()[1]


def test_a_configured_port_that_is_taken_is_fatal_and_names_owner_and_setting(taken: int) -> None:
    """The operator asked for this one: another would not be found by whoever looks for it."""
    with pytest.raises(ConfigError) as caught:
        bind_tcp(Address("127.0.0.1", taken), "hub.listen", configured=True)
    assert str(caught.value) == (
        f"hub.listen: port {taken} is taken, likely by another program; stop it or set hub.listen to another port"
    )


def test_a_default_port_that_is_taken_gives_way_to_the_next_free_one(taken: int) -> None:
    """Close by, so that it is easy to guess; the log warns."""
    with bind_tcp(Address("127.0.0.1", taken), "hub.listen", configured=False) as listener:
        assert taken < listener.getsockname()[1] <= taken + 20


@pytest.mark.parametrize(
    ("port", "owner"),
    [(9100, "node_exporter"), (9480, "another peerwatch hub"), (9090, "Prometheus"), (9091, "Pushgateway")],
)
def test_well_known_ports_name_their_likely_owner(port: int, owner: str) -> None:
    """The port is taken, by us or by whoever was quicker; the message tells by whom it usually is."""
    with socket.socket() as holder:
        try:
            holder.bind(("127.0.0.1", port))
            holder.listen()
        except OSError:
            pass  # its real owner runs here
        with pytest.raises(ConfigError, match=owner):
            bind_tcp(Address("127.0.0.1", port), "agent_http.port", configured=True)


def test_an_address_that_is_not_ours_is_an_error_with_the_reason() -> None:
    """192.0.2.1 belongs to documentation; a name without an address says so too."""
    with pytest.raises(ConfigError, match=r"hub.listen: cannot listen on 192\.0\.2\.1:9480: "):
        bind_tcp(Address("192.0.2.1", 9480), "hub.listen", configured=False)
    with pytest.raises(ConfigError, match=r"hub.listen: cannot listen on no\.such\.host\.invalid:9480: "):
        bind_tcp(Address("no.such.host.invalid", 9480), "hub.listen", configured=True)


def test_port_zero_takes_any_and_a_free_port_can_be_bound_after(taken: int) -> None:
    """`free_port` leaves the port free for a server that opens its own socket."""
    port = free_port(Address("127.0.0.1", 0), "x", configured=True)
    with bind_tcp(Address("127.0.0.1", port), "x", configured=True) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)


@pytest.mark.skipif(not hasattr(socket, "TCP_FASTOPEN"), reason="this system has no TCP Fast Open")
def test_a_listener_accepts_data_in_its_first_packet() -> None:
    """E25: a queue for TCP Fast Open is set."""
    with bind_tcp(Address("127.0.0.1", 0), "x", configured=True) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) > 0


def test_the_unix_socket_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    """Whoever can connect is an administrator."""
    with bind_unix(tmp_path / "new" / "hub.sock"):
        assert stat.S_IMODE((tmp_path / "new" / "hub.sock").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_stale_unix_socket_is_replaced_and_a_living_one_is_respected(tmp_path: Path) -> None:
    """After kill -9 the next start just works; beside a running hub it refuses."""
    path = tmp_path / "hub.sock"
    bind_unix(path).close()  # the file stays behind, as after a crash
    assert path.exists()
    with bind_unix(path), pytest.raises(ConfigError, match="another hub runs with this data folder"):
        bind_unix(path)


def test_a_file_in_the_place_of_the_socket_is_not_removed(tmp_path: Path) -> None:
    """It is not ours: an error instead."""
    path = tmp_path / "hub.sock"
    path.write_text("mine")
    try:
        bind_unix(path).close()
    except ConfigError:
        assert path.read_text() == "mine"
    else:
        pytest.fail("a plain file was replaced")


def test_a_path_that_is_too_long_says_what_helps(tmp_path: Path) -> None:
    """Unix sockets have some 100 bytes."""
    with pytest.raises(ConfigError, match="a shorter --data path may help"):
        bind_unix(tmp_path / ("x" * 120) / "hub.sock")
