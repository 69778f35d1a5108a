"""A dashboard with synthetic, moving data, and the query API over samples in memory.

For work on the page, and for the tests in a browser.

python -m tests.dashboard.fake_server [PORT] [INSTANCE … | --nobody]
"""

from __future__ import annotations

import sys

import anyio

from peerwatch.dashboard import Config
from peerwatch.model import SystemClock
from peerwatch.query.api import routes as api_routes
from peerwatch.query.prometheus import PrometheusApi
from tests.dashboard.fakes import FakeQueryClient, make_live
from tests.dashboard.query_source import QuerySource
from tests.dashboard.serving import serve

FLEET = ("atlas", "borealis", "cygnus", "draco-with-a-rather-long-name.example.net", "eridanus")


async def run(port: int, interval_s: float = 1.0, instances: tuple[str, ...] = FLEET) -> None:
    """Serve until cancelled, with news every `interval_s`."""
    clock = SystemClock()
    client = FakeQueryClient(instances, down=("eridanus",))
    live = make_live(client, clock, Config(min_tick_s=interval_s / 2))
    api = PrometheusApi(QuerySource(clock.now_ms()), clock=clock)
    async with serve(live, clock, port, api_routes(api)) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        while True:
            await anyio.sleep(interval_s)
            client.publish()


def main(arguments: list[str]) -> None:
    """Serve on PORT (default 9480, 0 for any that is free), and say where."""
    port = int(arguments[0]) if arguments else 9480
    named = tuple(arguments[1:]) or FLEET
    anyio.run(run, port, 1.0, () if "--nobody" in named else named)


if __name__ == "__main__":
    main(sys.argv[1:])
