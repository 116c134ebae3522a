"""deploy/pgo: who gets the recorded profile, and whether a build has it (docs/adr/0035)."""

import os
import shutil
import subprocess

import pytest

from harness.gateway import ROOT

PGO = ROOT / "deploy/pgo"
OPTIMISED = ("--crate-name", "clb_l7", "-C", "opt-level=3", "-C", "metadata=1 2")
RECORDED = "rustc 1.0.0 (recorded)"


@pytest.fixture
def folder(tmp_path):
    """A copy of deploy/pgo for a rustc that prints its arguments, one a line."""
    for name in ("rustc", "check"):
        shutil.copy(PGO / name, tmp_path / name)
    (tmp_path / "toolchain").write_text(RECORDED + "\n")
    write_rustc(tmp_path, RECORDED)
    return tmp_path


def write_rustc(folder, version):
    compiler = folder / "compiler"
    compiler.write_text(f"#!/bin/sh\ncase $1 in --version) echo '{version}' ;; *) printf '%s\\n' \"$@\" ;; esac\n")
    compiler.chmod(0o755)


@pytest.mark.parametrize("arguments", [("-vV",), OPTIMISED])
def test_what_cargo_sets_arrives_whatever_its_name(folder, arguments):
    compiler = folder / "compiler"
    compiler.write_text("#!/usr/bin/env python3\nimport os, sys\nprint('" + RECORDED + "' if sys.argv[1:] == ['--version'] else os.environ.get('CARGO_BIN_EXE_clb-bench'))\n")
    environment = {**os.environ, "CARGO_BIN_EXE_clb-bench": "there"}
    done = subprocess.run([folder / "rustc", compiler, *arguments], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "there\n"


def called_with(folder, *arguments):
    done = subprocess.run([folder / "rustc", folder / "compiler", *arguments], capture_output=True, text=True, check=True)
    return tuple(done.stdout.splitlines())


def test_an_optimised_build_by_the_rustc_of_the_profile_gets_it(folder):
    extra = ("-C", "symbol-mangling-version=v0", "-C", f"profile-use={folder}/clbd.profdata", "-C", "llvm-args=-no-pgo-warn-mismatch")
    assert called_with(folder, *OPTIMISED) == (*OPTIMISED, *extra)


@pytest.mark.parametrize("version", ["rustc 1.0.1 (recorded)", "rustc 1.0.0 (another)", ""])
def test_for_another_rustc_nothing_changes(folder, version):
    write_rustc(folder, version)
    assert called_with(folder, *OPTIMISED) == OPTIMISED


@pytest.mark.parametrize(
    "arguments",
    [
        ("-vV",),
        ("--crate-name", "clb_l7", "-C", "opt-level=1"),
        ("clippy-driver", "--crate-name", "clb_l7"),
        (*OPTIMISED, "-Cprofile-generate=counts"),
        (*OPTIMISED, "-Zsanitizer=address", "-Cpasses=sancov-module"),
        (*OPTIMISED, "-C", "instrument-coverage"),
    ],
)
def test_what_is_not_for_a_release_goes_without(folder, arguments):
    assert called_with(folder, *arguments) == arguments


@pytest.mark.parametrize(("known", "code"), [(10, 0), (9, 0), (8, 1), (0, 1)])
def test_the_check_counts_the_hot_functions_that_a_build_has(folder, known, code):
    (folder / "hot-functions").write_text("".join(f"_ZN{number}E\n" for number in range(10)))
    symbols = [f"{number:016x} t _ZN{number}E" for number in range(known)] + ["0000000000000000 T _ZN0Ex", "                 U _ZN9E"]
    nm = folder / "nm"
    nm.write_text("#!/bin/sh\ncat <<END\n" + "\n".join([*symbols, *symbols]) + "\nEND\n")
    nm.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run([folder / "check", "clbd"], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"profile: {known} of 10 hot functions\n", code)
