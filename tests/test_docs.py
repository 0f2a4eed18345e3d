"""Each command and each path in the documentation is one that exists."""

import ast
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from deblur_tf import config

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "gin_configs" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "datasets").glob("*/README.md")),
    *sorted((ROOT / "deblur_tf" / "pretrained").glob("*/README.md")),
]
# absl's own, and those that every program understands.
COMMON = {"help", "version", "v", "verbosity"}


def commands():
    """Every command line of every page, continued lines joined."""
    found = []
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"```(?:bash)?\n(.*?)```", text, re.DOTALL)
        inline = re.findall(r"`((?:deblur-|python benchmarks)[^`]+)`", text)
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
        for line in [*lines, *(i.replace("\n", " ").replace("\\", " ") for i in inline)]:
            line = re.sub(r"\[.*?\]", "", line).split("#")[0].strip()
            if re.match(r"(deblur-\w+|python benchmarks/\w+\.py)\b", line):
                found.append((page.relative_to(ROOT).as_posix(), line))
    return sorted(set(found))


def flags_of(path):
    """Names of the flags that a file defines, long and short."""
    names = set(COMMON)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "").startswith("DEFINE_"):
            names.add(node.args[0].value)
            names |= {k.value.value for k in node.keywords if k.arg == "short_name"}
            if "bool" in node.func.attr:
                names.add("no" + node.args[0].value)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "declare_key_flag":
            names.add(node.args[0].value)
    return names


def source(words):
    if words[0] == "python":
        return ROOT / words[1]
    return ROOT / "deblur_tf" / "bin" / f"{words[0].removeprefix('deblur-')}.py"


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_names_a_program_its_flags_and_gin_files(page, line):
    words = shlex.split(line)
    path = source(words)
    assert path.is_file(), line
    if words[0] != "python":
        assert f'"{words[0]}=' in (ROOT / "setup.py").read_text()
    known = flags_of(path)
    for word in words:
        if match := re.match(r"--?(\w+)(?:=(.*))?$", word, re.DOTALL):
            assert match[1] in known, f"{page}: {line}"
            if match[1] == "gin_file" and not match[2].startswith("my_"):
                config.find_gin_file(match[2])
        elif word.endswith(".gin"):
            config.find_gin_file(word)


def test_there_are_commands_of_every_program():
    programs = {shlex.split(line)[0] for _, line in commands()}
    assert {f"deblur-{n}" for n in ("restore", "evaluate", "train", "export", "data")} <= programs
    assert len(commands()) > 25


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    for anchor in re.findall(r"\]\((?!https?:)([^)]*#[^)]*)\)", text):
        path, name = anchor.split("#")
        other = (page.parent / path).read_text() if path else text
        titles = re.findall(r"^#+ (.+)$", other, re.MULTILINE)
        assert name in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_the_map_of_the_papers_names_files_code_and_tests_that_are_there():
    """A reader should find an equation, its code and its test within a minute."""
    text = (ROOT / "docs" / "papers.md").read_text()
    for row in re.findall(r"^\| .+ \|$", text, re.MULTILINE):
        current = None
        for name in re.findall(r"`([^`]+)`", row):
            if name.endswith((".py", ".json", ".gin", "/")):
                places = [ROOT / place / name for place in ("deblur_tf", "gin_configs", "")]
                found = [p for place in places for p in place.parent.glob(place.name or "*")]
                assert found, name
                current = found[0] if found[0].suffix == ".py" else None
            elif current is not None and re.fullmatch(r"\w+", name):
                assert re.search(rf"\b{name}\b", current.read_text()), (current, name)


@pytest.mark.parametrize(
    "line",
    [line for _, line in commands() if "deblur-configs" in line],
)
def test_quick_commands_run(line):
    _, *words = shlex.split(line)
    result = subprocess.run(
        [sys.executable, "-m", "deblur_tf.bin.configs", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_trainings_of_the_pages_can_be_configured():
    """Every combination of gin files and settings that a page shows."""
    for _, line in commands():
        words = shlex.split(line)
        if words[0] == "deblur-train" and "--gin_file=my_" not in line:
            files = [w.partition("=")[2] for w in words if w.startswith("--gin_file=")]
            settings = [w.partition("=")[2] for w in words if w.startswith("--gin_param=")]
            if files and not files[0].startswith("data/"):
                config.load(files, settings)
                config.build("Recipe")


def test_the_readme_is_for_a_newcomer():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_package_is_cheap_to_import():
    code = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = sys.modules["jax"] = None
import deblur_tf
assert "numpy" not in sys.modules
del sys.modules["tensorflow"], sys.modules["keras"], sys.modules["jax"]
from deblur_tf import Deblurrer
assert Deblurrer.__name__ == "Deblurrer"
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_what_is_installed_has_no_tests_and_no_dead_links(tmp_path):
    pytest.importorskip("setuptools")
    copy = tmp_path / "copy"
    folders = ("deblur_tf", "datasets", "gin_configs")
    for name in folders:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    subprocess.run(
        [
            sys.executable,
            "setup.py",
            "-q",
            "build",
            "--build-base",
            str(tmp_path / "b"),
            "egg_info",
        ],
        cwd=copy,
        check=True,
        capture_output=True,
    )
    built = tmp_path / "b" / "lib"
    assert not list(built.rglob("*_test.py"))
    assert len(list((built / "deblur_tf" / "gin_configs").rglob("*.gin"))) > 80
    for folder in ("networks", "metrics", "serving", "data/input", "diffusion/samplers"):
        assert list((built / "deblur_tf" / folder).glob("*.py")), folder
    text = next(copy.glob("*.egg-info")).joinpath("PKG-INFO").read_text()
    assert "the paper" in text
    assert not re.search(r"\]\((?!https?:)", text)
