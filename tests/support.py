"""What tests share: real nodes, a reader of the documentation, and waiting for conditions."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

from runtime.brokers import Broker, Consumer, Delivery

ROOT = Path(__file__).parent.parent
DOCUMENTED = "localhost:8080"  # where the documentation's node is
START_TIMEOUT = 60.0  # seconds; the first start imports torch where a function wants it

T = TypeVar("T")


def eventually(probe: Callable[[], T], within: float = 10.0, every: float = 0.02) -> T:
    """The first true value of `probe`, which is asked until `within` seconds are over."""
    deadline = time.monotonic() + within
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still {value!r} after {within} s: {probe}")
        time.sleep(every)


async def until(probe: Callable[[], T], within: float = 20.0) -> T:
    """The same for a test that is a coroutine: the loop turns between two looks."""
    deadline = time.monotonic() + within
    while not (value := probe()):
        assert time.monotonic() < deadline, f"still {value!r} after {within} s: {probe}"
        await asyncio.sleep(0.005)
    return value


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends while it is read
        return False


class Inbox:
    """A consumer whose deliveries wait until somebody asks for them."""

    consumer: Consumer

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    @classmethod
    async def open(cls, broker: Broker, queue: str, prefetch: int) -> "Inbox":
        inbox = cls()
        inbox.consumer = await broker.consume(queue, prefetch, inbox._arrived.put_nowait)
        return inbox

    async def receive(self, within: float = 10.0) -> Delivery:
        """The next delivery, in the order in which they came."""
        return await asyncio.wait_for(self._arrived.get(), within)

    def arrived(self) -> int:
        """How many deliveries nobody has asked for yet."""
        return self._arrived.qsize()

    @property
    def prefetch(self) -> int:
        return self.consumer.prefetch

    @prefetch.setter
    def prefetch(self, value: int) -> None:
        self.consumer.prefetch = value

    async def close(self) -> None:
        await self.consumer.close()


class RunningNode:
    """A `lumbre up` in a process of its own, and an HTTP client for it."""

    def __init__(self, folder: Path, functions: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "node.log"
        self._command = [sys.executable, "-m", "runtime", "up", "--port", "0"]
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")},
            "PYTHONPATH": str(ROOT),
            "LUMBRE_STATE": str(self.state),
            "LUMBRE_FUNCTIONS": str(functions),
            **environment,
        }
        self.process: subprocess.Popen[bytes]
        self.client: httpx.Client
        self.url = ""

    def start(self) -> "RunningNode":
        """Start it, again if it was stopped or killed, and wait until it is up."""
        with self.log.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        self.url = eventually(lambda: self._ready_url(began), START_TIMEOUT)
        self.client = httpx.Client(base_url=self.url, timeout=60)
        return self

    def _ready_url(self, began: int) -> str:
        said = self.log.read_bytes()[began:].decode(errors="replace")
        if self.process.poll() is not None:
            raise AssertionError(f"the node ended with {self.process.returncode}:\n{said}")
        match = re.search(r"lumbre is up on (http://\S+)", said)
        return match.group(1) if match else ""

    def kill(self) -> None:
        """kill -9 the node; its replicas are expected to die with it."""
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to drain and exit; gives its exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


NodeFactory = Callable[..., RunningNode]


class Page:
    """A page of the documentation: its code blocks and its tables."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (ROOT / "docs" / name).read_text()

    def blocks(self, *languages: str) -> list[tuple[str, str]]:
        """Language and text of every block in one of the languages, in order."""
        found = re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        return [(language, text) for language, text in found if language in languages]

    def sources(self) -> dict[str, str]:
        """The Python files of the page, by the path in their first line."""
        texts = [text for _, text in self.blocks("python")]
        return {text.partition("\n")[0].removeprefix("# "): text for text in texts}

    def table(self, heading: str) -> list[list[str]]:
        """The rows of the table whose first column has this heading."""
        start = self.text.index(f"\n| {heading} |") + 1
        rows = self.text[start:].partition("\n\n")[0].splitlines()
        return [_cells(row) for row in rows[2:]]

    def prose(self) -> str:
        return re.sub(r"^```.*?^```$", "", self.text, flags=re.DOTALL | re.MULTILINE)


def _cells(row: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", row)[1:-1]
    return [cell.strip().replace("\\|", "|") for cell in cells]


class Reader:
    """Somebody who goes through a page and does what it says, once."""

    def __init__(self, page: Page, node: RunningNode, folder: Path, path: str) -> None:
        self.page, self.node, self.folder = page, node, folder
        own = {name: v for name, v in os.environ.items() if not name.startswith("LUMBRE_")}
        self._environment = own | {
            "LUMBRE_URL": node.url,
            "LUMBRE_STATE": str(node.state),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{path}:{os.environ['PATH']}",
        }
        self._done: dict[int, subprocess.CompletedProcess[str]] = {}  # by step
        self._next = 0

    def read_to(self, number: int) -> subprocess.CompletedProcess[str]:
        """Do what the page says up to a block of commands, and tell how that one went."""
        steps = self.page.blocks("python", "sh")
        last = [index for index, (language, _) in enumerate(steps) if language == "sh"][number]
        while self._next <= last:
            language, text = steps[self._next]
            if language == "sh":
                self._done[self._next] = self._run(text)
            else:
                self._save(text)
            self._next += 1
        return self._done[last]

    def _save(self, text: str) -> None:
        path = self.folder / text.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self._await_functions()

    def _run(self, text: str) -> subprocess.CompletedProcess[str]:
        script = text.replace(DOCUMENTED, self.node.url.removeprefix("http://"))
        told = "%{stderr}HTTP %{http_code}\\n"
        script = re.sub(r"^curl ", f"curl -sS -w {shlex.quote(told)} ", script, flags=re.MULTILINE)
        done = subprocess.run(
            ["sh", "-eu", "-c", script],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=90,
        )
        self._await_functions()
        return done

    def _await_functions(self) -> None:
        """Wait until the node serves every function file, as a reader does by turning the page."""
        folder = self.folder / "functions"
        files = {str(file) for file in folder.glob("*.py") if not file.name.startswith("_")}

        def served() -> bool:
            items = self.node.client.get("/functions").json()["items"]
            return files <= {item["file"] for item in items}

        eventually(served, within=30)
