"""Which sections the console has; this is where a new one is added."""

from console.app import Console
from console.benchmarks import Benchmarks
from console.entrance import Entrance
from console.function import FunctionPage
from console.functions import Functions
from console.invocation import InvocationPage
from console.invocations import InvocationList
from console.letter import DeadLetter
from console.letters import DeadLetters
from console.overview import Overview
from console.page import Section
from console.queues import Queues
from console.replicas import Replicas
from console.scaling import ScalingPage
from console.sources import Sources


def console_of(sources: Sources) -> Console:
    """The console of one gateway, with all its pages."""
    sections: list[Section] = [
        Entrance(),
        Overview(sources),
        InvocationList(sources),
        InvocationPage(sources),
        Functions(sources),
        FunctionPage(sources),
        Replicas(sources),
        Queues(sources),
        DeadLetters(sources),
        DeadLetter(sources),
        ScalingPage(sources),
        Benchmarks(sources),
    ]
    return Console(sources, sections)
