"""`lumbre bake`: write the functions into a file that gateways serve without importing anything."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.flags import check_output
from runtime.settings import read_settings

STANDARD_OUTPUT = Path("-")

Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FOLDER", help="Folders of functions; none is LUMBRE_FUNCTIONS."),
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="The catalog; - is the standard output."),
]


def bake(output: Output, folders: Folders = None) -> None:
    """Describe all functions, and write that into a file: a catalog, for LUMBRE_CATALOG.

    A gateway with it starts where the functions cannot be imported, such as in an image without
    torch. A worker with it imports what it runs, and refuses files that were changed since. Where
    one file cannot be used, nothing is written.

    \b
    Examples:
      lumbre bake --output catalog.json
      lumbre bake /app/functions --output /app/catalog.json
      LUMBRE_CATALOG=catalog.json lumbre gateway --broker-url amqp://guest:guest@localhost
    """
    from runtime import baked

    if output != STANDARD_OUTPUT:
        check_output(output)
    given = [folder.expanduser().resolve() for folder in folders or ()]
    catalog = asyncio.run(baked.bake(given or read_settings().folders))
    if output == STANDARD_OUTPUT:
        typer.echo(catalog, nl=False)
        return
    output.write_bytes(catalog)
    typer.echo(f"wrote {output}")
