"""The dashboard: a live page, and the two small protocols by which it asks for data and learns that there is more.

::

    live = Live(config, query_client, clock, registry, boot=secrets.token_hex(4))
    tasks.start_soon(live.run)
    Starlette(routes=[*routes(live, clock), …])
"""

from peerwatch.dashboard.app import CONTENT_SECURITY_POLICY, routes
from peerwatch.dashboard.config import Config
from peerwatch.dashboard.live import Live
from peerwatch.dashboard.query_client import Matrix, QueryClient, Vector

__all__ = ["CONTENT_SECURITY_POLICY", "Config", "Live", "Matrix", "QueryClient", "Vector", "routes"]
