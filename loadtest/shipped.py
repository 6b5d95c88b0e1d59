"""Where the functions are that come with Lumbre."""

from pathlib import Path

from runtime.errors import ConfigurationError

HERE = Path(__file__).parent
PLACES = (HERE.parent / "functions", HERE / "shipped_functions")  # in a checkout; in a wheel


def shipped() -> Path:
    """The folder of the four functions; ConfigurationError where they are not installed."""
    for folder in PLACES:
        if (folder / "matmul.py").is_file():
            return folder
    raise ConfigurationError(
        "the shipped functions are not here: give a folder of functions with --functions"
    )
