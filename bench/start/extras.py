"""What each extra brings and weighs, as docs/guides/install.md has it: `python bench/start/extras.py` (uv, a registry).

For each extra of pyproject.toml all packages are resolved for Linux, x86-64 and Python 3.11, with the versions of
locks/cpu.lock, and the sizes of their wheels added up, as the registry states them: what is downloaded,
and not what it takes when unpacked. Once with torch as the registry has it, which is built for CUDA, and once with
torch for the CPU: from UV_FIND_LINKS where that is set, else from PyTorch itself (UV_TORCH_BACKEND=cpu).
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[2]
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
TAGS = [*cpython_tags((3, 11), platforms=PLATFORMS), *compatible_tags((3, 11), "cp311", PLATFORMS)]
RANK: Mapping[Tag, int] = {tag: rank for rank, tag in enumerate(TAGS)}
NOT_MEASURED, FOR_A_GPU = ("dev",), ("vllm",)


def packages(extras: list[str], *, cuda: bool) -> list[dict[str, Any]]:
    """The packages of these extras, resolved: rows of a PEP 751 lock."""
    constraints = (ROOT / "locks/cpu.lock").read_text()
    environment = dict(os.environ)
    if cuda:
        constraints = constraints.replace("+cpu", "")
        for name in ("UV_FIND_LINKS", "UV_TORCH_BACKEND"):
            environment.pop(name, None)
    elif "UV_FIND_LINKS" not in environment:
        environment["UV_TORCH_BACKEND"] = "cpu"
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--format", "pylock.toml", "--python-version", "3.11"]
    command += ["--python-platform", PLATFORMS[0].replace("manylinux", "x86_64-manylinux").removesuffix("_x86_64")]
    command += [f"--extra={extra}" for extra in extras] + ["-c", "-", "pyproject.toml"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, input=constraints, text=True, check=True, stdout=subprocess.PIPE
    )
    return tomllib.loads(done.stdout)["packages"]


def size(package: Mapping[str, Any]) -> int:
    """Bytes of the wheel that pip would take, or of the source where there is none."""
    ranked: list[tuple[int, int]] = []
    for wheel in package.get("wheels", ()):
        place = unquote(wheel.get("path") or urlsplit(wheel["url"]).path)
        tags = parse_wheel_filename(Path(place).name)[3]
        if ranks := [RANK[tag] for tag in tags if tag in RANK]:
            ranked.append((min(ranks), wheel.get("size") or (ROOT / place).stat().st_size))
    return min(ranked)[1] if ranked else int(package["sdist"]["size"])


def rows() -> Iterator[tuple[str, str, int, str, str]]:
    """(extra, what it names, packages more than the core has, MB with torch for the CPU, MB with CUDA)."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    core = {one["name"]: size(one) for one in packages([], cuda=True)}
    whole = f"{sum(core.values()) / 1e6:,.0f}"
    yield "none", "lake, flows, client of servers", len(core), whole, whole
    for extra, names in listed.items():
        if extra in NOT_MEASURED:
            continue
        added, more = 0, {}
        for cuda in (False, True):
            sizes = {one["name"]: size(one) for one in packages([extra], cuda=cuda)}
            added = len(sizes.keys() - core.keys())
            more[cuda] = f"{sum(sizes[name] for name in sizes.keys() - core.keys()) / 1e6:,.0f}"
        bare = ", ".join(name.partition(">")[0] for name in names)
        yield extra, bare, added, "–" if extra in FOR_A_GPU else more[False], more[True]


def main() -> None:
    print("| extra | names | packages more, with CUDA | MB, torch for the CPU | MB, torch for CUDA |")
    print("|---|---|---|---|---|")
    for extra, names, count, small, large in rows():
        print(f"| `{extra}` | {names} | {count} | {small} | {large} |")


if __name__ == "__main__":
    main()
