"""Functions that end badly: their replica dies, or they raise what stops most programs."""

import ctypes
import os
import sys
import time
from pathlib import Path

from runtime import Resources, Scaling, function

ONE = Scaling(max_replicas=1)
MIB = 2**20


@function(scaling=ONE)
def leave(code: int, last_words: str = "") -> None:
    """Exit without a word to anybody."""
    print(last_words, flush=True)
    os._exit(code)


@function(scaling=ONE)
def leave_until(folder: str, lives: int) -> int:
    """Exit in the first attempts, and count them in a folder."""
    attempts = len(list(Path(folder).iterdir()))
    Path(folder, str(attempts)).touch()
    if attempts < lives:
        os._exit(1)
    return attempts


@function(scaling=ONE, max_attempts=1)
def segfault() -> None:
    """Read the memory at address 0."""
    ctypes.string_at(0)


@function(scaling=ONE, max_attempts=1)
def abort() -> None:
    """Do what a C library does that finds itself broken."""
    os.abort()


@function(scaling=ONE, max_attempts=1)
def close_everything() -> None:
    """Close every file descriptor, that of the frames too."""
    os.closerange(0, 1000)


@function(scaling=ONE, max_attempts=2, resources=Resources(memory=150 * MIB))
def eat(mebibytes: int) -> int:
    """Hold so much memory, and touch all of it."""
    held = []
    for _ in range(0, mebibytes, 20):
        held.append(b"x" * 20 * MIB)
        time.sleep(0.02)
    return len(held)


@function(scaling=ONE)
def give_up(how: str) -> int:
    """Raise what is no Exception, or spoils the process."""
    if how == "MemoryError":
        raise MemoryError
    if how == "SystemExit":
        sys.exit(3)
    if how == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if how == "GeneratorExit":
        raise GeneratorExit
    return os.getpid()


class Unspeakable(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@function(scaling=ONE)
def complain(how: str) -> int:
    """Raise an error that is hard to tell."""
    if how == "long":
        raise ValueError("very " * 100_000 + "long")
    if how == "unspeakable":
        raise Unspeakable
    if how == "surrogate":
        raise ValueError("half \ud800 a character")
    if how == "deep":
        return complain(how) + 1
    return os.getpid()
