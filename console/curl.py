"""The curl command that asks for the same as a form: copied into a shell, it does what was done.

Values are quoted for a POSIX shell.  A text part goes as `--form-string`, since `-F` would read a
file for a value that begins with @ or <, and take what follows a semicolon for itself.
"""

import re
import shlex
from collections.abc import Mapping
from mimetypes import guess_extension
from typing import Any
from urllib.parse import quote

import orjson

from console.body import as_text
from runtime.function import FunctionSpec
from runtime.model import JSON

LINE = 72  # characters; a longer command is broken before its options
MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
# What curl says of itself by a file's name (its manual, under --form).
KNOWN = {".gif", ".jpg", ".jpeg", ".png", ".svg", ".txt", ".htm", ".html", ".pdf", ".xml"}
EXTENSIONS = {"application/x-npy": ".npy", "application/octet-stream": ".bin"}
KEY = '"Authorization: Bearer $LUMBRE_API_KEY"'  # in double quotes: the shell puts the key in


def curl(
    spec: FunctionSpec,
    base: str,
    device: str,
    parameters: Mapping[str, Any] | None,
    files: Mapping[str, str],
    *,
    result: str | None = None,
    keyed: bool = False,
) -> str:
    """The command that invokes a function with these parameters, on a device or auto or compare.

    `base` is this node's URL, `files` are media types by bytes parameter, `result` is that of what
    came out where it is known, `keyed` says that an API key is asked for.  Parameters are None
    where they are too long to be told: then they are to be in input.json.
    """
    url = f"{base.rstrip('/')}/invoke/{spec.name}"
    if device != "auto":
        url += f"?device={quote(device)}"
    words = [f"curl -X POST {shlex.quote(url)}"]
    if keyed:
        words.append(f"-H {KEY}")
    if files:
        words += _form(spec, parameters or {}, files)
    else:
        words += _json(spec, parameters)
    if output := _output(spec, files, result):
        words.append(f"-o {shlex.quote(output)}")
    line = " ".join(words)
    return line if len(line) <= LINE else " \\\n  ".join(words)


def file_name(name: str, media_type: str) -> str:
    """What a file for a bytes parameter may be called."""
    plain = media_type.partition(";")[0].strip().lower()
    return f"{name}{EXTENSIONS.get(plain) or guess_extension(plain) or '.bin'}"


def _json(spec: FunctionSpec, parameters: Mapping[str, Any] | None) -> list[str]:
    """The parameters as JSON; where there is no bytes parameter, nobody need say that it is."""
    words = [f"-H 'Content-Type: {JSON}'"] if spec.binary else []
    if parameters is None:
        return [*words, "--data-binary @input.json"]
    return [*words, f"-d {shlex.quote(orjson.dumps(parameters).decode())}"]


def _form(spec: FunctionSpec, parameters: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
    words = []
    for name, value in parameters.items():
        words.append(f"--form-string {shlex.quote(f'{name}={as_text(spec, name, value)}')}")
    for name, media_type in files.items():
        file = file_name(name, media_type)
        said = f"{name}=@{file}"
        known = any(file.endswith(ending) for ending in KNOWN)
        if not known and MEDIA_TYPE.fullmatch(media_type):
            said += f";type={media_type}"
        words.append(f"-F {shlex.quote(said)}")
    return words


def _output(spec: FunctionSpec, files: Mapping[str, str], result: str | None) -> str | None:
    """The file for a result that is bytes; a terminal is no place for them."""
    if result is None:
        schemas = [spec.output_schema, *spec.output_schema.get("anyOf", ())]
        types = [schema["contentMediaType"] for schema in schemas if "contentMediaType" in schema]
        sure = "contentMediaType" in spec.output_schema
        result = types[0] if types and (sure or files) else JSON
    readable = result.startswith("text/") or result == JSON
    return None if readable else file_name(f"{spec.name}-result", result)
