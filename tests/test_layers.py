"""A file imports only lower floors, and heavy libraries stay where they belong.

The floors are those of docs/architecture.md, lowest first.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("runtime", "autoscaler", "console", "loadtest", "deploy")

FLOORS: list[set[str]] = [
    {
        "runtime.errors",
        "runtime.model",
        "runtime.capture",
        "runtime.frames",
        "runtime.board",
        "runtime.lenient",
        "runtime.lines",
        "runtime.finding",
        "runtime.estimate",
        "runtime.fitness",
        "runtime.tenure",
    },
    {
        "runtime.logs",
        "runtime.ndjson",
        "runtime.formula",
        "runtime.lifeline",
        "runtime.scopes",
        "runtime.throttle",
    },
    {"runtime.cost"},
    {"runtime.settings", "runtime.blobs", "runtime.brokers", "runtime.http", "runtime.failure"},
    {"runtime.destination", "runtime.signature", "runtime.brokers.properties"},
    {"runtime.wire", "runtime.webhook", "runtime.bus", "runtime.serving"},
    {"runtime.context", "runtime.brokers.memory", "runtime.schema", "runtime.devices"},
    {"runtime.agreement", "runtime.gpu_memory", "runtime.roster"},
    {"runtime.brokers.fast"},
    {f"runtime.brokers.rabbitmq.{m}" for m in ("address", "server", "acks", "prefetch")},
    {f"runtime.brokers.rabbitmq.{m}" for m in ("timeouts", "topology", "trouble")},
    {f"runtime.brokers.rabbitmq.{m}" for m in ("channel", "lease", "management")},
    {"runtime.brokers.rabbitmq.link"},
    {f"runtime.brokers.rabbitmq.{m}" for m in ("checkup", "kept", "loose")},
    {f"runtime.brokers.rabbitmq.{m}" for m in ("publisher", "consumer", "signals", "letters")},
    {f"runtime.brokers.rabbitmq.{m}" for m in ("answers", "outcomes", "cancellations", "intake")},
    {"runtime.brokers.rabbitmq.desk"},
    {"runtime.brokers.rabbitmq.broker"},
    {"runtime.brokers.rabbitmq"},
    {"runtime.function", "runtime.sqlite", "runtime.audit", "runtime.waiting", "runtime.stories"},
    {"runtime.rollup"},
    {"runtime.postgres", "runtime.migrations.env"},
    {f"runtime.migrations.versions.{m}" for m in ("r0001_tables", "r0002_history", "r0003_keys")},
    {"runtime.rows", "runtime.database"},
    {"runtime.keys", "runtime.search"},
    {"runtime.session"},
    {"runtime.settled", "runtime.batch_rows", "runtime.migrate", "runtime.tally", "runtime.pages"},
    {"runtime.replicas", "runtime.shelf"},
    {"runtime.census", "runtime.runs"},
    {"runtime.retention", "runtime.samples"},
    {"runtime.speedup"},
    {
        "runtime.result",
        "runtime.sourcefile",
        "runtime.zygote",
        "runtime.telemetry",
        "runtime.ledger",
        "autoscaler.document",
        "autoscaler.policy",
        "autoscaler.trigger",
    },
    {"autoscaler.keda", "autoscaler.rendered"},
    {f"autoscaler.{m}" for m in ("arrivals", "durations", "erlang", "timeline")},
    {"autoscaler.scene", "autoscaler.trace"},
    {"autoscaler.replica_set"},
    {"autoscaler.simulated"},
    {"autoscaler.simulate"},
    {"autoscaler.sweep"},
    {"autoscaler.summary"},
    {"autoscaler.replay"},
    {"runtime.replica", "runtime.catalog", "runtime.recorder", "runtime.problem"},
    {"runtime.holdings", "runtime.baked"},
    {"runtime.janitor"},
    {"runtime.quarantine"},
    {"runtime.forkserver", "runtime.process", "runtime.intake"},
    {"runtime.timings", "runtime.departures"},
    {"runtime.pool", "runtime.reporter", "runtime.results"},
    {"runtime.once", "runtime.pod", "runtime.liveness", "runtime.surrender"},
    {"runtime.exposition", "runtime.health", "runtime.worker_metrics"},
    {"runtime.worker_health"},
    {"runtime.invocations"},
    {"runtime.worker", "runtime.views", "autoscaler.local", "runtime.remote", "runtime.feeder"},
    {"runtime.fleet", "runtime.workers", "runtime.callbacks"},
    {"runtime.hearing"},
    {"autoscaler.backlog", "autoscaler.externalscaler"},
    {"autoscaler.activity"},
    {"autoscaler.push"},
    {"runtime.sending"},
    {"runtime.history", "runtime.sampler"},
    {"runtime.query"},
    {"runtime.filters"},
    {"runtime.openapi"},
    {"runtime.access"},
    {"runtime.access_routes"},
    {"runtime.admission", "runtime.batches", "runtime.batch_results"},
    {"runtime.answers", "runtime.letters", "runtime.auditor"},
    {"runtime.latest_audit"},
    {"runtime.clearance"},
    {"runtime.letter_routes"},
    {"runtime.reports", "runtime.batch_routes", "runtime.comparison"},
    {"runtime.gateway"},
    {"loadtest.ending", "loadtest.servers.guard", "loadtest.servers.guarded"},
    {"loadtest.servers.certificate", "loadtest.servers.postgres"},
    {"loadtest.servers.rabbit"},
    {"loadtest.servers.foreground"},
    {"loadtest.servers", "loadtest.chaos"},
    {"loadtest.servers.__main__"},
    {f"loadtest.{m}" for m in ("fingerprint", "latencies", "line", "quantity")},
    {f"loadtest.{m}" for m in ("drawing", "kept", "markdown", "written")},
    {"autoscaler.picture"},
    {"loadtest.outcome"},
    {"loadtest.suite", "loadtest.suite.results", "loadtest.shipped"},
    {"loadtest.suite.event"},
    {f"loadtest.suite.{m}" for m in ("machine", "progress", "schedule", "subject")},
    {"loadtest.suite.plan", "loadtest.suite.places"},
    {f"loadtest.suite.{m}" for m in ("case", "ceilings", "options", "trial")},
    {f"loadtest.suite.{m}" for m in ("caller", "entry", "parity", "selection")},
    {"loadtest.suite.choice"},
    {"loadtest.suite.block"},
    {"loadtest.suite.agreement", "loadtest.suite.cold"},
    {"loadtest.suite.session"},
    {"loadtest.suite.interval"},
    {"loadtest.suite.comparison", "loadtest.suite.crossover"},
    {"loadtest.suite.change", "loadtest.suite.summary"},
    {"loadtest.suite.surroundings"},
    {"loadtest.suite.difference"},
    {f"loadtest.suite.report.{m}" for m in ("case", "findings", "latex", "panels", "spreadsheet")},
    {f"loadtest.suite.report.{m}" for m in ("chart", "exhibits", "markdown", "plates", "screen")},
    {"loadtest.suite.report.ieee"},
    {"loadtest.suite.report.folder"},
    {"loadtest.suite.report"},
    {"loadtest.suite.__main__"},
    {f"console.{m}" for m in ("moment", "numbers", "page", "shared", "sources")},
    {"console.render", "console.pulse", "console.entrance", "console.visitor"},
    {"console.curves", "console.traceback", "console.waterfall"},
    {"console.outcome"},
    {"console.shape"},
    {"console.field"},
    {"console.body", "console.form"},
    {"console.curl", "console.posted"},
    {"console.app"},
    {"console.invocation"},
    {"console.invocations"},
    {f"console.{m}" for m in ("clearings", "depths", "draft", "lifelines", "oldest")},
    {"console.activity", "console.coldstarts", "console.launch", "console.policy", "console.ran"},
    {"console.functions", "console.function_form", "console.digest"},
    {"console.charts"},
    {"console.replica_chart", "console.speedup_chart", "console.tiles", "console.welcome"},
    {"console.overview"},
    {"console.function_state"},
    {"console.function"},
    {"console.backlog_chart", "console.outlook", "console.what_if"},
    {"console.queues", "console.letter_views", "console.replicas"},
    {"console.letters", "console.scaling"},
    {"console.letter"},
    {f"console.run_{m}" for m in ("comparison", "process", "progress", "report")},
    {"console.runs"},
    {"console.benchmarks"},
    {"console.sections"},
    {"console.late"},
    {f"runtime.doctor.{m}" for m in ("examination", "functions", "machine", "stores")},
    {"runtime.doctor.rounds"},
    {"runtime.doctor"},
    {"runtime.role"},
    {"runtime.recorder_role", "runtime.worker_role"},
    {"runtime.gateway_role"},
    {"runtime.node", "runtime.roles"},
    {f"loadtest.chaos.{m}" for m in ("errors", "launch", "order", "processes", "runs", "schedule")},
    {f"loadtest.chaos.{m}" for m in ("disk", "member", "receipt", "record", "shape")},
    {"loadtest.chaos.asker", "loadtest.chaos.stores", "loadtest.chaos.verdict"},
    {f"loadtest.chaos.{m}" for m in ("batch", "caller", "deployment", "watcher")},
    {"loadtest.chaos.traffic"},
    {"loadtest.chaos.campaign"},
    {"loadtest.chaos.folder", "loadtest.chaos.report"},
    {"loadtest.chaos.__main__"},
    {"loadtest.document", "loadtest.request", "loadtest.slo"},
    {"loadtest.share", "loadtest.stage", "loadtest.trace"},
    {"loadtest.plan", "loadtest.mix"},
    {"loadtest.arrivals"},
    {f"loadtest.{m}" for m in ("address", "answer", "snapshot", "timers", "turn")},
    {"loadtest.faults", "loadtest.live", "loadtest.observer", "loadtest.tally"},
    {"loadtest.bottleneck", "loadtest.connection"},
    {"loadtest.pool"},
    {"loadtest.loop"},
    {"loadtest.client"},
    {"loadtest.runner"},
    {f"loadtest.report.{m}" for m in ("block", "spread", "step")},
    {"loadtest.report.summary"},
    {"loadtest.report.table"},
    {"loadtest.report.canvas", "loadtest.report.contents", "loadtest.report.spreadsheet"},
    {f"loadtest.report.{m}" for m in ("distribution", "markdown", "page", "timeline")},
    {"loadtest.report.plots", "loadtest.report.terminal"},
    {"loadtest.report.files"},
    {"loadtest.report"},
    {"autoscaler.identity", "autoscaler.refusal"},
    {"autoscaler.cluster"},
    {"autoscaler.drift", "autoscaler.readiness", "autoscaler.requirements"},
    {"autoscaler.inventory"},
    {"autoscaler.lookout"},
    {"autoscaler.removal", "autoscaler.rollout", "autoscaler.standing"},
    {"deploy.values", "deploy.healthcheck", "deploy.requirements"},
    {"deploy.pod", "deploy.quantity"},
    {f"deploy.{m}" for m in ("devices", "gpus", "ladder", "names")},
    {"deploy.worker_pod"},
    {"deploy.workload"},
    {"deploy.namespace", "deploy.refusal", "deploy.stream"},
    {f"deploy.{m}" for m in ("access", "blobs", "budget", "configmap", "rabbitmq_conf")},
    {"deploy.broker", "deploy.database", "deploy.deployment"},
    {"deploy.gateway", "deploy.network", "deploy.recorder"},
    {"deploy.jobs", "deploy.monitoring", "deploy.route"},
    {"deploy.credentials", "deploy.platform"},
    {"deploy.bundle"},
    {f"loadtest.demo{m}" for m in ("", ".browser", ".node", ".program", ".speedup")},
    {"runtime.cli.client", "runtime.cli.scaffold", "runtime.cli.terminal", "runtime.cli.flags"},
    {f"runtime.cli.{m}" for m in ("comparing", "following", "reference", "simulation")},
    {f"runtime.cli.{m}" for m in ("deployment", "progress", "session", "standings")},
    {"runtime.cli.deploy_flags"},
    {"runtime.cli.deploy"},
    {f"runtime.cli.{m}" for m in ("audits", "batches", "calls", "chaos", "letters", "roles")},
    {f"runtime.cli.{m}" for m in ("bake", "bench", "demo", "doctor", "keys", "loadtest", "report")},
    {"runtime.cli.simulate"},
    {"runtime.cli"},
    {"runtime.__main__"},
    {"loadtest.__main__"},
    {"loadtest.budgets"},
    {f"loadtest.budgets.{m}" for m in ("row", "closed", "delayed", "echo", "pace")},
    {f"loadtest.budgets.{m}" for m in ("cpu", "environment", "page", "peers")},
    {f"loadtest.budgets.{m}" for m in ("peers.work", "memory", "report", "server")},
    {f"loadtest.budgets.peers.{m}" for m in ("starlette_app", "dramatiq_actors", "aiopika_worker")},
    {"loadtest.budgets.peers.dramatiq_gateway", "loadtest.budgets.peers.aiopika_gateway"},
    {"loadtest.budgets.replicas", "loadtest.budgets.throughput"},
    {f"loadtest.budgets.{m}" for m in ("contestant", "benchmark", "distributed")},
    {f"loadtest.budgets.{m}" for m in ("starts", "backlog", "comparison", "rivals")},
    {f"loadtest.budgets.{m}" for m in ("flood", "records", "arena", "filled", "tabs")},
    {"loadtest.budgets.console"},
    {f"loadtest.budgets.{m}" for m in ("embedded", "generator", "rabbitmq")},
]
ANYWHERE = {
    "console",
    "runtime",
    "autoscaler",
    "loadtest",
    "deploy",
}  # a package's own public names

ONLY = {
    "torch": {"runtime.context", "runtime.fitness", "runtime.forkserver"},
    "uvicorn": {"runtime.http", "runtime.serving"},
    "sqlalchemy": {
        "runtime.schema",
        "runtime.rows",
        "runtime.search",
        "runtime.settled",
        "runtime.census",
        "runtime.runs",
        "runtime.batch_rows",
        "runtime.tally",
        "runtime.retention",
        "runtime.sqlite",
        "runtime.postgres",
        "runtime.database",
        "runtime.migrate",
        "runtime.migrations.versions.r0001_tables",
        "runtime.migrations.versions.r0002_history",
        "runtime.migrations.versions.r0003_keys",
        "runtime.pages",
        "runtime.replicas",
        "runtime.keys",
        "runtime.ledger",
        "runtime.audit",
    },
    "alembic": {
        "runtime.migrate",
        "runtime.migrations.env",
        "runtime.migrations.versions.r0001_tables",
        "runtime.migrations.versions.r0002_history",
        "runtime.migrations.versions.r0003_keys",
    },
    "asyncpg": {"runtime.postgres"},
    "httpcore": {"runtime.webhook"},
    "grpc": {"autoscaler.push"},
    "google": {"autoscaler.externalscaler"},
    "kubernetes": {"autoscaler.cluster"},
    "pika": {"runtime.brokers.fast", "runtime.brokers.properties"}
    | {
        f"runtime.brokers.rabbitmq.{m}"
        for m in ("channel", "consumer", "link", "loose", "publisher", "trouble")
    },
    "typer": {
        f"runtime.cli{m}"
        for m in ("", ".audits", ".batches", ".calls", ".chaos", ".doctor", ".flags", ".letters")
    }
    | {
        f"runtime.cli.{m}"
        for m in (
            "bake",
            "bench",
            "demo",
            "deploy",
            "deploy_flags",
            "keys",
            "loadtest",
            "report",
            "roles",
            "session",
            "simulate",
        )
    },
}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if package == "loadtest" and "functions" in file.parts:
                continue
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


MODULES = modules()


def imports(file: Path) -> set[str]:
    """Every module a file imports, anywhere in it, but for type checking."""
    tree = ast.parse(file.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys() or {node.module}
    return found


FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_file_imports_only_lower_floors(name: str) -> None:
    if name in ANYWHERE:
        return
    assert name in FLOOR_OF, f"{name} has no floor: add it to FLOORS and docs/architecture.md"
    for other in imports(MODULES[name]) & FLOOR_OF.keys():
        assert FLOOR_OF[other] < FLOOR_OF[name], f"{name} imports {other}, which is not below it"


@pytest.mark.parametrize("library", sorted(ONLY))
def test_a_heavy_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {
        name
        for name, file in MODULES.items()
        if any(module.partition(".")[0] == library for module in imports(file))
        and name.startswith(("runtime", "autoscaler"))
    }
    assert users <= ONLY[library]


def test_every_floor_names_files_that_are_there() -> None:
    assert FLOOR_OF.keys() <= MODULES.keys()
