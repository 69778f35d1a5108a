"""An HTTPS link trusts one certificate, ends within its deadline, and tells every failure alike."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from peerwatch.errors import ConfigError, DecodeError, LinkError
from peerwatch.links.https import HttpsConfig, HttpsLink
from tests.links.server import Certificate, Stub, free_port, self_signed, serving

QUICK = HttpsConfig(connect_s=1.0, answer_s=1.0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The hub's."""
    return self_signed(tmp_path_factory.mktemp("tls"))


def _with_hub(
    stub: Stub, certificate: Certificate, story: Callable[[HttpsLink], Awaitable[None]], config: HttpsConfig = QUICK
) -> None:
    async def main() -> None:
        with anyio.fail_after(15):
            async with serving(stub, free_port(), certificate) as url, HttpsLink(url, certificate.pem, config) as link:
                await story(link)

    anyio.run(main)


def test_requests_go_where_they_belong(certificate: Certificate) -> None:
    """Pushes, enrolments and the membership have a path each."""
    stub = Stub()

    async def story(link: HttpsLink) -> None:
        assert await link.push(b"p") == b"ok"
        assert await link.enrol(b"e") == b"ok"
        assert await link.membership() == b"ok"

    _with_hub(stub, certificate, story)
    assert stub.requests == [
        ("POST", "/api/v1/push", b"p"),
        ("POST", "/api/v1/enrol", b"e"),
        ("GET", "/api/v1/membership", b""),
    ]


def test_one_connection_serves_many_pushes(certificate: Certificate) -> None:
    """A handshake costs more than a push."""
    stub = Stub()

    async def story(link: HttpsLink) -> None:
        for _ in range(5):
            await link.push(b"p")

    _with_hub(stub, certificate, story)
    assert len(stub.requests) == 5 and len(set(stub.clients)) == 1


def test_another_certificate_is_refused(certificate: Certificate, tmp_path: Path) -> None:
    """Though it bears the same name."""
    stub, other = Stub(), self_signed(tmp_path)

    async def main() -> None:
        async with serving(stub, free_port(), other) as url, HttpsLink(url, certificate.pem, QUICK) as link:
            with pytest.raises(LinkError, match="CERTIFICATE_VERIFY_FAILED"):
                await link.push(b"secret")

    anyio.run(main)
    assert stub.requests == []


def test_without_a_pin_a_self_signed_certificate_is_refused(certificate: Certificate) -> None:
    """Then the system's authorities decide."""
    stub = Stub()

    async def main() -> None:
        async with serving(stub, free_port(), certificate) as url, HttpsLink(url, config=QUICK) as link:
            with pytest.raises(LinkError, match="CERTIFICATE_VERIFY_FAILED"):
                await link.push(b"secret")

    anyio.run(main)
    assert stub.requests == []


def test_a_server_without_tls_is_refused(certificate: Certificate) -> None:
    """Nothing is sent in the clear."""
    stub = Stub()

    async def main() -> None:
        port = free_port()
        async with serving(stub, port), HttpsLink(f"https://127.0.0.1:{port}", certificate.pem, QUICK) as link:
            with pytest.raises(LinkError):
                await link.push(b"secret")

    anyio.run(main)
    assert stub.requests == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hub.example.org:9480", "plain HTTP is for this machine only, use https://"),
        ("http://10.0.0.1:9480", "plain HTTP is for this machine only"),
        ("ftp://hub", "is not of the form https://host:port"),
        ("hub:9480", "is not of the form"),
        ("https://", "is not of the form"),
        ("https://user:pass@hub", "is not of the form"),
        ("https://hub:99999999", "is not of the form"),
    ],
)
def test_an_address_that_is_none_is_a_setting_to_mend(url: str, words: str) -> None:
    """With the address and what is allowed."""
    with pytest.raises(ConfigError, match=words):
        HttpsLink(url)


@pytest.mark.parametrize("pem", ["junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\u00e9"])
def test_a_pin_that_is_none_is_a_setting_to_mend(pem: str) -> None:
    """It must not fail open."""
    with pytest.raises(ConfigError, match=r"pinned certificate of \d+ characters is not PEM"):
        HttpsLink("https://hub:9480", pem)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"])
def test_a_hub_on_this_machine_may_speak_plain_http(url: str) -> None:
    """And nobody being there is a failure of the link."""

    async def main() -> None:
        async with HttpsLink(url, config=QUICK) as link:
            with pytest.raises(LinkError, match="cannot connect"):
                await link.push(b"")

    anyio.run(main)


@pytest.mark.parametrize("trickle", [False, True])
def test_a_slow_hub_is_left_within_the_deadline(certificate: Certificate, trickle: bool) -> None:
    """Also one that sends a byte now and then."""
    stub = Stub()
    stub.trickle_s, stub.chunks = (0.05, 200) if trickle else (10.0, 1)

    async def story(link: HttpsLink) -> None:
        started = time.monotonic()
        with pytest.raises(LinkError, match=r"no whole answer within 0\.2 s"):
            await link.push(b"p")
        assert time.monotonic() - started < 2.0

    _with_hub(stub, certificate, story, HttpsConfig(connect_s=1.0, answer_s=0.2))


def test_an_answer_is_bounded(certificate: Certificate) -> None:
    """Somebody in the hub's place must not fill the agent's memory."""
    stub = Stub()
    stub.body, stub.chunks = bytes(1 << 20), 40

    async def story(link: HttpsLink) -> None:
        with pytest.raises(LinkError, match=r"answer of \d+ bytes or more, limit 16777216"):
            await link.push(b"p")

    _with_hub(stub, certificate, story, HttpsConfig(answer_s=10.0))


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [(b"7", 7.0), (b"", None), (b"soon", None), (b"-1", None), (b"9" * 400, None), ("\u0663".encode(), None)],
)
def test_a_full_hub_says_how_long_to_wait(certificate: Certificate, header: bytes, wait_s: float | None) -> None:
    """429 with Retry-After in seconds; anything else there is no wait."""
    stub = Stub()
    stub.status, stub.body, stub.headers = 429, b"full", [(b"retry-after", header)]

    async def story(link: HttpsLink) -> None:
        with pytest.raises(LinkError, match="/api/v1/push answered 429: full") as caught:
            await link.push(b"p")
        assert caught.value.wait_s == wait_s

    _with_hub(stub, certificate, story)


@pytest.mark.parametrize("status", [301, 403, 404, 500, 503])
def test_any_other_status_is_a_failure(certificate: Certificate, status: int) -> None:
    """Redirects are not followed: the hub is where the token says."""
    stub = Stub()
    stub.status, stub.headers = status, [(b"location", b"https://elsewhere/")]

    async def story(link: HttpsLink) -> None:
        with pytest.raises(LinkError, match=f"answered {status}: ok"):
            await link.push(b"p")

    _with_hub(stub, certificate, story)
    assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_a_request_that_cannot_be_read_is_told_apart(certificate: Certificate, status: int) -> None:
    """The same bytes would be refused again."""
    stub = Stub()
    stub.status = status

    async def story(link: HttpsLink) -> None:
        with pytest.raises(DecodeError, match=f"answered {status}: ok"):
            await link.push(b"p")

    _with_hub(stub, certificate, story)


def test_a_restarted_hub_is_found_again(certificate: Certificate) -> None:
    """The kept connection is dead; one failure at most, and the link goes on."""
    port = free_port()

    async def main() -> None:
        with anyio.fail_after(15):
            async with HttpsLink(f"https://127.0.0.1:{port}", certificate.pem, QUICK) as link:
                async with serving(Stub(), port, certificate):
                    assert await link.push(b"1") == b"ok"
                with pytest.raises(LinkError):
                    await link.push(b"2")
                async with serving(Stub(), port, certificate):
                    assert await link.push(b"3") == b"ok"

    anyio.run(main)


def test_a_cancelled_push_does_not_use_up_the_link(certificate: Certificate) -> None:
    """More of them than there are connections."""
    stub = Stub()

    async def story(link: HttpsLink) -> None:
        stub.trickle_s = 5.0
        for number in range(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(link.push, b"p")
                while len(stub.requests) == number:  # noqa: ASYNC110 - the server has no event for it
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()
        stub.trickle_s = 0.0
        assert await link.push(b"p") == b"ok"

    _with_hub(stub, certificate, story, HttpsConfig(answer_s=5.0))
