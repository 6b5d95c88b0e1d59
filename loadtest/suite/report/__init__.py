"""Everything that is written from the Results of a run: JSON, CSV, PNG, Markdown, LaTeX, screen."""

from loadtest.suite.report.folder import write as write
from loadtest.suite.report.screen import terminal as terminal
