"""Open tabs of the console: each asks for its page's refresh every two seconds, as htmx does.

`python -m loadtest.budgets.tabs http://127.0.0.1:8080/ --tabs 50` polls until it is ended, and then
prints one JSON object.  In a process of its own, so that it never shares an interpreter with what
is measured.
"""

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

HEADERS = (
    "Accept: text/html, */*",
    "HX-Request: true",
    "HX-Request-Type: partial",
    "HX-Target: div#live",
)


class Tabs:
    """So many tabs, whose first refreshes are spread over one period."""

    def __init__(self, url: str, tabs: int, every: float) -> None:
        self._url = urlsplit(url)
        self._tabs = tabs
        self._every = every
        self.took: list[float] = []  # seconds of each refresh
        self.faults: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh until `stop` is set."""
        tasks = [asyncio.create_task(self._tab(number)) for number in range(self._tabs)]
        await stop.wait()
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                self.faults.append(repr(ended))

    async def _tab(self, number: int) -> None:
        await asyncio.sleep(self._every * number / self._tabs)
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        lines = (f"GET {target} HTTP/1.1", f"Host: {self._url.netloc}", *HEADERS, "", "")
        request = "\r\n".join(lines).encode()
        try:
            while True:
                due = time.perf_counter() + self._every
                await self._refresh(reader, writer, request)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        finally:
            writer.close()

    async def _refresh(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        began = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        _, _, length = head.partition("content-length: ")
        await reader.readexactly(int(length.partition("\r\n")[0]))
        self.took.append(time.perf_counter() - began)
        if not head.startswith("http/1.1 200"):
            self.faults.append(head.partition("\r\n")[0])


async def _main(url: str, tabs: int, every: float) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    opened = Tabs(url, tabs, every)
    await opened.run(stop)
    print(json.dumps({"took": opened.took, "faults": opened.faults}), flush=True)
    return 0


def main(line: Sequence[str] | None = None) -> int:
    """Poll until SIGTERM; 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="the page, such as http://127.0.0.1:8080/")
    parser.add_argument("--tabs", type=int, default=50, help="how many (50)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between refreshes (2)")
    given = parser.parse_args(line)
    return asyncio.run(_main(given.url, given.tabs, given.every))


if __name__ == "__main__":
    raise SystemExit(main())
