"""What the benchmarks share: their arguments, what they print and write, calls that run alone."""

import argparse
import concurrent.futures
import json
import multiprocessing
from collections.abc import Callable
from typing import Any

import rich.console

from dgc_jax.files import replacing


def parser(doc: str) -> argparse.ArgumentParser:
    """The arguments that every benchmark takes, for one whose module docstring is given."""
    found = argparse.ArgumentParser(description=doc.split("\n", 1)[0])
    found.add_argument("--json", help="file for the results")
    found.add_argument("--small", action="store_true", help="a test of it, with a tiny input")
    return found


def tell(result: dict[str, Any], path: str | None) -> None:
    """Prints the rows and notes of a benchmark, and writes it as JSON if a path is given."""
    console = rich.console.Console()
    for row in result["rows"]:
        told = (f"{name} {f'{v:.4g}' if isinstance(v, float) else v}" for name, v in row.items())
        console.print("  ".join(told), highlight=False, markup=False, soft_wrap=True)
    for note in result["notes"]:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    if path:
        with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()
