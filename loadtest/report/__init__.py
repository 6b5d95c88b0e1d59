"""The reports of a load test: JSON, CSV, Markdown, a page with plots, and what a terminal shows."""

from loadtest.report.files import read as read
from loadtest.report.files import write as write
from loadtest.report.terminal import terminal as terminal
