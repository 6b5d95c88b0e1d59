"""`lumbre doctor`: whether everything that a role needs is there and as it should be."""

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from runtime.cli.flags import FAILED, Json
from runtime.cli.roles import with_settings
from runtime.settings import read_settings

if TYPE_CHECKING:
    from runtime.finding import Finding


@with_settings
def doctor(json: Json = False, **flags: Any) -> None:
    """Check what a deployment needs, and say what is wrong and what to do; exit 1 on a problem.

    Looks at the broker, its management API, the ledger, blobs, functions and their timeouts, GPUs,
    versions and the port, with the settings that a role would have here. It changes nothing, and
    may run beside roles.

    \b
    Examples:
      lumbre doctor
      LUMBRE_BROKER_URL=amqp://guest:guest@localhost lumbre doctor
      lumbre doctor --json | jq '.findings\\[] | select(.state != "ok")'
    """
    from runtime.cli import session, terminal
    from runtime.doctor import Examination, checks
    from runtime.finding import State

    logging.getLogger().addHandler(logging.NullHandler())  # findings tell it, and better
    examination = Examination(checks(read_settings(flags)))
    found: list[Finding] = []
    for finding in examination.findings():
        found.append(finding)
        if not json:
            session.show_line(terminal.finding(finding))
    sick = any(each.state is State.PROBLEM for each in found)
    if json:
        session.print_json({"healthy": not sick, "findings": found})
    else:
        session.show(terminal.diagnosis(found))
    if examination.stuck:  # a thread that hangs would be waited for
        sys.stdout.flush()
        os._exit(FAILED)  # what was late is a problem
    if sick:
        raise typer.Exit(FAILED)
