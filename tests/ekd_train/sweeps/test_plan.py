"""The plan of a sweep: saved exactly, extended by methods and seeds only."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import ConfigError, EkdError
from ekd_train.config import TrainConfig
from ekd_train.methods import METHODS
from ekd_train.sweeps.plan import SweepPlan, plan_sweep

Plans = Callable[..., SweepPlan]

names = st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=8)
seeds = st.lists(st.integers(0, 99), min_size=1, max_size=5, unique=True).map(lambda found: tuple(sorted(found)))
methods = st.lists(st.sampled_from(sorted(METHODS)), min_size=1, unique=True).map(tuple)


@st.composite
def plans(draw: st.DrawFn) -> SweepPlan:
    config = TrainConfig().override(
        [
            f"student.epochs={draw(st.integers(1, 99))}",
            f"teacher.learning_rate={draw(st.floats(1e-6, 1))}",
            f"threshold={draw(st.floats(1, 9))}",
            f"distill.projection={draw(st.sampled_from(['pool', 'linear']))}",
        ]
    )
    targets = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
    return SweepPlan(
        config=replace(config, targets=targets, data=draw(st.text(max_size=20))),
        targets=targets,
        seeds=draw(seeds),
        folds=draw(st.integers(1, 40)),
        methods=draw(methods),
        split=draw(st.sampled_from(["leave-one-out", "k-fold:5", "holdout", "trial-leaky"])),
        identity=draw(st.text(max_size=20)),
        synthetic=draw(st.booleans()),
    )


@given(plan=plans())
def test_plan_survives_saving_and_loading(plan: SweepPlan, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sweep")
    plan.save(folder)
    assert SweepPlan.load(folder) == plan
    assert [path.name for path in folder.iterdir()] == ["sweep.json"]


@given(plan=plans())
def test_cells_are_listed_once_and_seed_by_seed(plan: SweepPlan) -> None:
    cells = plan.cells()
    assert len(cells) == len(plan.targets) * len(plan.seeds) * plan.folds
    assert len({cell.name for cell in cells}) == len(set(cells)) == len(cells)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert f"{len(cells) * len(plan.methods)} results" in plan.describe()
    assert ("synthetic data" in plan.describe()) == plan.synthetic


@given(plan=plans(), more_seeds=seeds, more_methods=methods)
def test_extended_plan_adds_seeds_and_methods_and_loses_none(
    plan: SweepPlan, more_seeds: tuple[int, ...], more_methods: tuple[str, ...]
) -> None:
    asked = replace(plan, seeds=more_seeds, methods=more_methods)
    extended = plan.extended(asked, Path("runs/x"))
    assert set(extended.seeds) == {*plan.seeds, *more_seeds}
    assert set(extended.methods) == {*plan.methods, *more_methods}
    assert set(plan.cells()) <= set(extended.cells())
    assert replace(extended, seeds=plan.seeds, methods=plan.methods) == plan
    assert extended.extended(asked, Path("runs/x")) == extended
    assert plan.extended(plan, Path("runs/x")) == plan


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (["student.epochs=3"], {}, "student.epochs is 30 there and 3 here"),
        (["data=deap:x"], {}, "data is 'synthetic' there and 'deap:x' here"),
        (["signal.rate_hz=16"], {}, "signal.rate_hz is '128' there and '16' here"),
        (["split.validation=0.5"], {}, "split.validation is 0.2 there and 0.5 here"),
        ([], {"split": "k-fold:9", "folds": 9}, "split is 'k-fold:3' there and 'k-fold:9' here"),
        ([], {"targets": ("arousal", "valence")}, "targets is"),
        ([], {"identity": "synthetic?seed=1"}, "the content of the data is 'synthetic?seed=0' there"),
        ([], {"synthetic": False}, "synthetic is True there and False here"),
    ],
)
def test_other_differences_between_plans_are_named(
    settings: list[str], changes: dict[str, object], message: str, make_plan: Plans
) -> None:
    asked = replace(make_plan(config=TrainConfig().override(settings)), **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as refused:
        make_plan().extended(asked, Path("runs/x"))
    assert message in str(refused.value)
    assert "ekd-train sweep --resume runs/x" in str(refused.value)
    assert "--out" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_differences_beyond_the_first_are_counted(make_plan: Plans) -> None:
    settings = [f"{stage}.{name}=9" for stage in ("teacher", "student") for name in ("epochs", "batch_size")]
    with pytest.raises(ConfigError, match="and 1 more"):
        make_plan().extended(make_plan(config=TrainConfig().override(settings)), Path("x"))


@pytest.mark.parametrize(
    "changes", [{"methods": ("kd", "magic")}, {"methods": ()}, {"seeds": (1, 1)}, {"targets": ()}, {"folds": 0}]
)
def test_impossible_plan_is_refused(changes: dict[str, object], make_plan: Plans) -> None:
    with pytest.raises(ConfigError):
        make_plan(**changes)


def test_missing_sweep_is_reported(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="is not a sweep"):
            SweepPlan.load(folder)


@given(plan=plans(), share=st.floats(0, 1))
def test_truncated_plan_is_refused(plan: SweepPlan, share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sweep")
    plan.save(folder)
    whole = (folder / "sweep.json").read_bytes()
    (folder / "sweep.json").write_bytes(whole[: int(share * (len(whole) - 3))])
    with pytest.raises(ConfigError, match=r"sweep\.json"):
        SweepPlan.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "another version"),
        ({"seeds": None}, "incomplete"),
        ({"config": 3}, "incomplete"),
        ({"config": {"surprise": 1}}, "surprise"),
    ],
)
def test_plan_of_another_version_or_kind_is_refused(
    change: dict[str, object], message: str, tmp_path: Path, make_plan: Plans
) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps(make_plan().to_json() | change))
    with pytest.raises(EkdError, match=message):
        SweepPlan.load(tmp_path)
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(EkdError, match="another version"):
        SweepPlan.load(tmp_path)


@pytest.mark.parametrize(
    ("split", "folds"), [("leave-one-out", 7), ("holdout", 1), ("k-fold:3", 3), ("trial-leaky", 5)]
)
def test_split_determines_the_folds(split: str, folds: int) -> None:
    plan = plan_sweep(TrainConfig().override(["data=synthetic?subjects=7"]), split, 1, None)
    assert plan.folds == folds
    assert plan.config.split.kind == split.partition(":")[0]


@pytest.mark.parametrize("split", ["", "loso", "k-fold:x", "k-fold:1", "k-fold:9", "holdout:2"])
def test_impossible_split_is_refused(split: str) -> None:
    with pytest.raises(EkdError):
        plan_sweep(TrainConfig().override(["data=synthetic?subjects=7"]), split, 1, None)


def test_plan_depends_on_the_data() -> None:
    config = TrainConfig().override(["data=synthetic?subjects=7", "seed=4"])
    plan = plan_sweep(config, "leave-one-out", 2, None)
    assert (plan.folds, plan.seeds, plan.targets, plan.synthetic) == (7, (4, 5), ("arousal",), True)
    assert plan.methods == ("teacher", "student", "kd", "kd-feedback")
    assert plan.to_json()["dataset"] == "synthetic"


def test_data_without_eeg_trains_the_student_alone(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "recording,subject,trial,start_s,end_s,arousal\na,p1,1,0,30,2\na,p1,2,30,60,8\n"
        "b,p2,1,0,30,2\nb,p2,2,30,60,8\nc,p3,1,0,30,2\nc,p3,2,30,60,8\n"
    )
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text("# rate_hz: 8\ngsr_us\n" + "5.0\n" * 480)
    config = TrainConfig().override([f'data="recordings:{tmp_path}"'])
    plan = plan_sweep(config, "holdout", 1, None)
    assert plan.methods == ("student",)
    assert not plan.synthetic
    assert plan.to_json()["dataset"] == "recordings"
    with pytest.raises(ConfigError, match="no ratings of 'valence'"):
        plan_sweep(config.override(['targets=["valence"]']), "holdout", 1, None)
    with pytest.raises(ConfigError, match="--seeds"):
        plan_sweep(config, "holdout", 0, None)
