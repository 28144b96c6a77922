"""``galago sweep`` trains every point once, tells what it came to, and says how much of it is chance."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import GalagoGroup, main
from galago_edge.contract.decoding import from_toml
from galago_edge.contract.errors import BusyError, CallerError, GalagoError, Reason
from galago_workstation.commands.sweep import sweep
from galago_workstation.sweep.search_grid import grid_of
from galago_workstation.sweep.sweep_plan import plan_sweep
from galago_workstation.sweep.sweep_work import SweepOrder, sole_training
from galago_workstation.training_config import read_config
from test_kit.hostile_data import encoded, picture
from test_kit.swept_runs import CONFIG, train_in_milliseconds

RATES = "train.learning_rate=0.1,0.3,0.2"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    if "really" not in request.node.name:
        train_in_milliseconds(monkeypatch)
    monkeypatch.setattr(main, "get_command", _with_sweep(main))  # whatever is installed
    yield


def _with_sweep(group: GalagoGroup) -> Any:
    before = group.get_command
    return lambda ctx, name: sweep if name == "sweep" else before(ctx, name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "birds.toml"
    path.write_text(CONFIG)
    return path


def ask(config: Path, *arguments: object) -> Result:
    out = config.parent / "out"
    return CliRunner().invoke(main, ["sweep", str(config), "--out", str(out), *map(str, arguments)])


def trained(config: Path) -> list[str]:
    path = config.parent / "trained.txt"
    return path.read_text().split() if path.exists() else []


def test_each_point_is_a_run_and_the_table_has_the_best_by_validation_first(config: Path) -> None:
    done = ask(config, "--set", RATES, "--set", "model.filters=8,16")

    assert done.exit_code == 0, done.output
    assert len(trained(config)) == len(set(trained(config))) == 6
    lines = done.stdout.splitlines()
    head = next(
        at for at, line in enumerate(lines) if line.startswith("by balanced accuracy on 8 validation")
    )
    assert lines[head + 1].split()[:5] == [
        "validation",
        "balanced",
        "accuracy",
        "spread",
        "train.learning_rate",
    ]
    assert [line.split()[1] for line in lines[head + 2 : head + 8]] == ["30.40"] * 2 + ["20.40"] * 2 + [
        "10.40"
    ] * 2
    assert lines.count("2 labels") == 1  # what all trainings tell
    assert "the best of 6" in done.stdout and "optimistic" in done.stdout
    assert "one seed each" in done.stderr
    configs = [
        from_toml((path / "config.toml").read_bytes()) for path in (config.parent / "out").glob("learn*")
    ]
    assert {(one["train"]["learning_rate"], one["model"]["filters"]) for one in configs} == {
        (rate, filters) for rate in (0.1, 0.2, 0.3) for filters in (8, 16)
    }


def test_what_is_whole_is_not_trained_again_and_what_is_new_is(config: Path) -> None:
    ask(config, "--set", "train.learning_rate=0.1,0.2")
    again = ask(config, "--set", "train.learning_rate=0.1,0.2")
    assert len(trained(config)) == 2
    assert "2 of them whole already" in again.stdout and "2 of 2 runs whole" in again.stdout

    more = ask(config, "--set", "train.learning_rate=0.1,0.4")
    assert len(trained(config)) == 3
    assert "1 more run in" in more.stdout

    config.write_text(CONFIG + "epochs = 9\n")
    ask(config, "--set", "train.learning_rate=0.1")
    assert len(trained(config)) == 4
    ask(config, "--set", "train.learning_rate=0.1", "--fresh")
    assert len(trained(config)) == 5


def test_seeds_have_mean_and_spread_and_a_small_lead_is_said_to_be_chance(config: Path) -> None:
    done = ask(config, "--set", "train.learning_rate=0.1,0.1005,0.3", "--seeds", "3", "--json")
    found = json.loads(done.stdout)
    first, second, third = found["points"]
    assert [run["seed"] for run in second["runs"]] == [
        6,
        5,
        4,
    ]  # 0.1055, 0.1045, 0.1035 for 4, 5, 6 from 0.1005
    assert (first["figure"], first["spread"]) == (pytest.approx(0.305), pytest.approx(0.001))
    assert second["figure"] - third["figure"] == pytest.approx(0.0005)
    assert not any("spread" in text for text in found["warnings"])

    near = json.loads(ask(config, "--set", "train.learning_rate=0.1,0.1005", "--seeds", "3", "--json").stdout)
    assert ["by no more than the spread between seeds" in text for text in near["warnings"]] == [True]
    assert (near["found"], near["trained"]) == (6, 0)


def test_a_run_that_fails_is_a_line_and_a_count_and_the_others_go_on(config: Path) -> None:
    done = ask(config, "--set", "train.learning_rate=9,8,0.1", "--jobs", "2")

    assert done.exit_code == 1
    assert "no birds [DATA_BAD]" in done.stderr and "[TRAIN_CRASHED]" in done.stderr
    assert "1 of 3 runs whole, 2 failed" in done.stdout
    found = json.loads(ask(config, "--set", "train.learning_rate=9,8,0.1", "--json").stdout)
    assert sorted(error["reason"] for error in found["failed"].values()) == ["DATA_BAD", "TRAIN_CRASHED"]
    assert found["found"] == 1 and len(found["points"]) == 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.rate=1", "[train] has no setting 'rate'"),
        ("training.learning_rate=1", "did you mean train?"),
        ("train.epoch=1", "did you mean epochs?"),
        ("train.epochs=5,0", "train.epochs = 0: [train] epochs"),
        ("model.kind=resnet,resent", "'resent' is none"),
        ("train.epochs.more=1", "expected a whole number, got a table"),
        ("data.folder.more=1", "folder, which is no table"),
        ("train.learning_rate=0.1,0.1", "twice"),
        ("train.epochs=2026-01-02", "date has no place in a configuration"),
        ("train.learning_rate", "is not KEY=VALUE"),
        ("train.learning_rate=", "is not KEY=VALUE"),
        ("=1", "is not KEY=VALUE"),
        ("a b=1", "is no key"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(config: Path, setting: str, said: str) -> None:
    done = ask(config, "--set", setting)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (config.parent / "out").exists() and not trained(config)


def test_a_sweep_without_anything_to_vary_a_seed_given_twice_and_two_ways_to_compute_are_refused(
    config: Path,
) -> None:
    for arguments, said in (
        ((), "nothing to vary"),
        (("--set", "train.seed=1,2", "--seeds", 2), "train.seed"),
        (("--set", RATES, "--jobs", 2, "--scheduler", "tcp://x:1"), "expected one of them"),
        (("--set", RATES, "--set", "train.learning_rate=1"), "twice"),
        (("--set", RATES, "--set", "train={epochs=1},{epochs=2}"), "holds the other"),
    ):
        done = ask(config, *arguments)
        assert done.exit_code == 2 and said in done.stderr, done.stderr


def test_a_folder_that_is_no_sweep_is_not_touched(config: Path) -> None:
    (config.parent / "out").mkdir()
    (config.parent / "out" / "mine.txt").touch()
    done = ask(config, "--set", RATES)
    assert done.exit_code == 2 and "[EXISTS]" in done.stderr
    assert [path.name for path in (config.parent / "out").iterdir()] == ["mine.txt"]


def test_a_grid_file_looks_like_a_configuration_and_may_replace_whole_tables(config: Path) -> None:
    grid = config.parent / "grid.toml"
    grid.write_text(
        '[train]\nlearning_rate = [0.1, 0.2]\n[[model]]\nkind = "resnet"\nfilters = 8\n'
        '[[model]]\nkind = "mobilenet_v1"\n'
    )
    plan = plan_sweep(config, grid_of(grid, ()), seeds=1)
    assert [run.name.rpartition("-")[0] for run in plan.runs] == [
        *("learning-rate=0.1-model=resnet", "learning-rate=0.1-model=mobilenet-v1"),
        *("learning-rate=0.2-model=resnet", "learning-rate=0.2-model=mobilenet-v1"),
    ]
    grid.write_text("[train]\nlearning_rate = 0.1\n")
    with pytest.raises(CallerError, match="expected a list of values to try"):
        grid_of(grid, ())


def test_a_configuration_that_was_written_again_says_the_same(config: Path, tmp_path: Path) -> None:
    config.write_text(
        CONFIG.replace(
            "[train]", '[decision.label."front \\"door\\"\\u007f"]\non = 0.9\n[train]\nweight_decay = 1e-05'
        )
    )
    (run,) = plan_sweep(config, grid_of(None, ['data.ignore=["a,b"]']), seeds=1).runs
    (tmp_path / "again.toml").write_bytes(run.content)
    before, again = read_config(config), read_config(tmp_path / "again.toml")
    assert again.data.ignore == ("a,b",)  # type: ignore[union-attr]
    assert (again.train, again.decision, again.model) == (before.train, before.decision, before.model)


def test_two_sweeps_do_not_train_the_same_run(config: Path) -> None:
    (config.parent / "locked.toml").touch()
    order = SweepOrder.of(
        "locked",
        "0",
        config=config.parent / "locked.toml",
        out=config.parent,
        root=config.parent,
        fresh=False,
    )
    with (
        sole_training(order),
        pytest.raises(BusyError, match="another sweep") as caught,
        sole_training(order),
    ):
        pass
    assert (caught.value.reason, caught.value.exit_code) == (Reason.LOCKED, 5)
    with sole_training(order):
        pass


def test_ctrl_c_ends_with_what_is_whole_and_the_same_command_goes_on(config: Path) -> None:
    out = config.parent / "out"
    program = (
        f"import sys, signal; sys.path[:0] = {sys.path!r}; import pytest; "
        "from test_kit.swept_runs import train_in_milliseconds; train_in_milliseconds(pytest.MonkeyPatch()); "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from galago_workstation.commands.sweep import sweep; sweep()"
    )
    arguments = [str(config), "--out", str(out), "--set", "train.learning_rate=0.1,7,0.2"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[1/3]"):
                break
        while not list(out.glob("learning-rate=7*.part")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == 130
    assert "1 of 3 runs whole, 2 left: the same command goes on" in output
    assert not list(out.glob("*.part"))
    assert "1 of them whole already" in ask(config, "--set", "train.learning_rate=0.1,0.2").stdout


@pytest.mark.slow
def test_a_sweep_really_trains_and_its_runs_are_runs_as_any_other(tmp_path: Path) -> None:
    for at, label in enumerate(("cat", "dog")):
        (tmp_path / "birds" / label).mkdir(parents=True)
        for number in range(12):
            content = encoded(".png", picture(1_000 * at + number, 12, 12))
            (tmp_path / "birds" / label / f"{number}.png").write_bytes(content)
    path = tmp_path / "birds.toml"
    small = CONFIG.replace("32", "12") + "epochs = 1\nmin_steps = 0\nbatch_size = 4\n"
    path.write_text(small.replace('"resnet"', '"resnet"\nfilters = 8\nstages = 1'))
    done = ask(path, "--set", "train.sampling=natural,balanced", "--jobs", "2")
    assert done.exit_code == 0, done.output
    from galago_workstation.run_folder import Run

    for folder in (tmp_path / "out").glob("sampling=*"):
        Run.open(folder).check_untouched()
        assert len(Run.open(folder).samples("train")) > 0  # found from where the configuration was


def test_errors_are_told_as_data(config: Path) -> None:
    done = ask(config, "--set", "train.rate=1", "--json")
    assert json.loads(done.stdout)["error"]["reason"] == "CONFIG_BAD"
    assert not isinstance(done.exception, GalagoError)
