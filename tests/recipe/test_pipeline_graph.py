"""A pipeline's recipe as a graph: what references mean in which round, and each mistake with its line and column."""

from pathlib import Path

import pytest

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load, load_stage, load_with_problems, loads

GOOD = """\
stage: pipeline
output: runs/all
steps:
  sft:
    recipe: pico/sft
  helpful:
    recipe: pico/reward_helpful
    set:
      model.adapter: step:sft
rounds:
  count: 3
  first: step:sft
  steps:
    samples:
      recipe: pico/rejection_sampling
      set:
        model.adapter: step:previous
        reward: {helpfulness: step:helpful}
        keep.pool: [earlier:samples]
    tuned:
      recipe: pico/sft
      set:
        data.train:
          - run: all:samples
          - card: pico-sft-helpful
    ppo:
      recipe: pico/ppo
      only: [last]
      set:
        model.adapter: step:tuned
        reward: {helpfulness: step:helpful}
"""


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pipeline(text: str, *overrides: str) -> Pipeline:
    Path("all.yaml").write_text(text)
    found = load("all.yaml", overrides)
    assert isinstance(found, Pipeline)
    return found


def problems(text: str, *overrides: str) -> list[Problem]:
    Path("all.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load("all.yaml", overrides)
    return caught.value.problems


def only(old: str, new: str) -> Problem:
    """What is wrong with the good one once `old` is `new`."""
    assert GOOD.count(old) == 1, old
    (found,) = problems(GOOD.replace(old, new))
    return found


def test_what_references_mean_in_each_round() -> None:
    found = {step.name: step for step in pipeline(GOOD).steps}
    assert list(found) == [
        *("sft", "helpful"),
        *("round-1/samples", "round-1/tuned", "round-2/samples", "round-2/tuned"),
        *("round-3/samples", "round-3/tuned", "round-3/ppo"),
    ]
    first, second, third = (found[f"round-{number}/samples"].recipe for number in (1, 2, 3))
    assert first.model.adapter == "runs/all/sft" and first.keep.pool == []
    assert second.model.adapter == "runs/all/round-1/tuned" and second.keep.pool == [
        "runs/all/round-1/samples"
    ]
    assert third.keep.pool == ["runs/all/round-1/samples", "runs/all/round-2/samples"]
    assert third.reward.helpfulness == "runs/all/helpful" and third.output == "runs/all/round-3/samples"
    tuned = found["round-2/tuned"].recipe.data.train
    assert [one.run or one.card for one in tuned] == [
        "runs/all/round-1/samples",
        "runs/all/round-2/samples",
        "pico-sft-helpful",
    ]
    assert found["round-3/ppo"].needs == ("round-3/tuned", "helpful")
    # Values that are not set are those of the step's own recipe.
    assert found["sft"].recipe.optimization == load_stage("pico/sft").optimization


def test_what_is_for_training_goes_to_the_steps_that_train() -> None:
    said = "set: {hardware.activation_checkpointing: true, logging.every_steps: 3}\n"
    found = {step.name: step.recipe for step in pipeline(GOOD + said).steps}
    assert (
        found["sft"].hardware.activation_checkpointing
        and found["round-3/ppo"].hardware.activation_checkpointing
    )
    assert not found["round-1/samples"].hardware.activation_checkpointing
    assert {recipe.logging.every_steps for recipe in found.values()} == {3}
    assert (
        "is for stages that train"
        in only(
            "keep.pool: [earlier:samples]",
            "keep.pool: [earlier:samples]\n        hardware.activation_checkpointing: true",
        ).what
    )


def test_a_name_is_that_of_the_round_or_the_newest_before_it() -> None:
    again = GOOD.replace(
        "    tuned:\n", "    helpful:\n      recipe: pico/reward_helpful\n      only: [2]\n"
        "      set: {model.adapter: step:sft}\n    tuned:\n"
    )  # fmt: skip
    found = {step.name: step.recipe for step in pipeline(again).steps}
    taken = [found[f"round-{number}/samples"].reward.helpfulness for number in (1, 2, 3)]
    assert taken == ["runs/all/helpful", "runs/all/round-2/helpful", "runs/all/round-2/helpful"]
    assert found["round-3/ppo"].reward.helpfulness == "runs/all/round-2/helpful"


def test_a_step_after_the_rounds_takes_from_the_last_and_from_all() -> None:
    after = GOOD.replace(
        "rounds:\n", "  final:\n    recipe: pico/sft\n    set:\n      data.train:\n        - run: step:samples\n"
        "        - run: earlier:samples\n        - run: step:round-1/samples\n          weight: 2\nrounds:\n"
    )  # fmt: skip
    found = pipeline(after)
    assert found.steps[-1].name == "final" or found.needs["final"][0] == "round-3/samples"
    train = next(step.recipe for step in found.steps if step.name == "final").data.train
    assert [one.run for one in train] == [f"runs/all/round-{number}/samples" for number in (3, 1, 2, 3, 1)]
    assert train[-1].weight == 2


EVALUATE = (
    "evaluate:\n  recipe: pico/evaluate\n  set:\n    judges: {oracle: true, helpfulness: step:helpful}\n"
)


def test_evaluate_compares_all_models_or_some() -> None:
    step = pipeline(GOOD + EVALUATE).steps[-1]
    named = {name: one.adapter for name, one in step.recipe.models.items()}
    steps = ["sft", "round-1/tuned", "round-2/tuned", "round-3/tuned", "round-3/ppo"]
    assert (step.name, step.recipe.baseline) == ("evaluate", "sft")
    assert named == {name: f"runs/all/{name}" for name in steps} and set(step.needs) == {*steps, "helpful"}
    some = pipeline(GOOD + EVALUATE, "evaluate.models=[ppo, round-2/tuned]").steps[-1].recipe
    assert list(some.models) == ["round-2/tuned", "round-3/ppo"] and some.baseline == "round-2/tuned"
    # Of a step that trains all weights it is the base.
    whole = pipeline(GOOD + EVALUATE, "steps.final={recipe: pico/sft_full}", "evaluate.models=[final]").steps[
        -1
    ]
    assert whole.recipe.models["final"].base == "runs/all/final"


@pytest.mark.parametrize(
    ("old", "new", "code", "place", "said"),
    [
        (
            "recipe: pico/evaluate\n",
            "recipe: pico/evaluate\n  models: [tuned, stf]\n",
            "E060",
            "34:19",
            "no step `stf`",
        ),
        ("recipe: pico/evaluate", "recipe: pico/sft", "E063", "33:11", "takes one of evaluate"),
        ("step:helpful}\n", "step:sft}\n", "E062", "35:41", "is a reward model"),
    ],
)
def test_a_mistake_in_evaluate_has_its_place(old: str, new: str, code: str, place: str, said: str) -> None:
    (problem,) = problems(GOOD + EVALUATE.replace(old, new))
    assert (problem.code, problem.place) == (code, f"all.yaml:{place}") and said in problem.what, problem


def test_evaluate_adds_what_its_set_says_of_models() -> None:
    """A model besides the versions, and more of a version; what the recipe of the step names is another matter."""
    Path("base").mkdir()
    for written in (
        "    models: {plain: {}, sft: {base: ./base}}\n",
        "    models.plain: {}\n    models.sft.base: ./base\n",
    ):
        text = GOOD + EVALUATE + written + "  models: [sft, ppo]\n"
        recipe = pipeline(text, "set.model.base=base").steps[-1].recipe
        assert list(recipe.models) == ["sft", "round-3/ppo", "plain"] and recipe.baseline == "sft"
        assert recipe.models["sft"].adapter == "runs/all/sft" and recipe.models["sft"].base == "./base"
    (problem,) = problems(GOOD + EVALUATE + "    models: {sft: {bose: pico}}\n")
    assert (problem.code, problem.place) == ("E021", "all.yaml:36:26")


@pytest.mark.parametrize(
    ("change", "place", "said"),
    [
        ("evaluate.set.models.sft.base=./base", "36:1", "`models.sft.adapter` is an adapter on `./base`"),
        ("steps.pairs.set.other.base=./base", "13:22", "`other.adapter` is an adapter on `./base`"),
    ],
)
def test_every_adapter_belongs_to_one_base(change: str, place: str, said: str) -> None:
    Path("base").mkdir()
    pairs = "  pairs:\n    recipe: pico/preferences\n    set:\n      other.adapter: step:sft\n"
    text = GOOD.replace("rounds:\n", f"{pairs}rounds:\n") + EVALUATE
    assert pipeline(text)
    (problem,) = problems(text, change)
    assert problem.code == "E062" and said in problem.what, problem
    assert problem.place == f"all.yaml:{place}" and ".base` to that of the step" in (problem.hint or "")


@pytest.mark.parametrize(
    ("maker", "change", "said"),
    [
        ("rejection_sampling", "reward: {helpfulness: step:helpful}", "what a step of preferences holds out"),
        ("preferences", "test_share: 0", "with `test_share: 0` there is no `split: test`"),
    ],
)
def test_pairs_that_nobody_holds_out_are_not_taken(maker: str, change: str, said: str) -> None:
    rows = f"  made:\n    recipe: pico/{maker}\n    set:\n      {change}\n"
    taken = "  last:\n    recipe: pico/reward_helpful\n    set:\n      data.train: [{run: step:made}]\n"
    taken += "      data.eval:\n        - run: step:made\n          split: test\n"
    (problem,) = problems(GOOD.replace("rounds:\n", f"{rows}{taken}rounds:\n"))
    assert (problem.code, problem.place) == ("E062", "all.yaml:20:18") and said in problem.what, problem
    good = GOOD.replace("rounds:\n", f"{rows}{taken}rounds:\n").replace(change, "seed: 3")
    if maker == "preferences":
        assert pipeline(good)


def test_one_side_of_pairs_is_taken_from_what_leaves_pairs() -> None:
    taken = "  last:\n    recipe: pico/sft\n    set:\n      data.train: [{run: step:made, side: chosen}]\n"
    made = "  made:\n    recipe: pico/preferences\n"
    assert pipeline(GOOD.replace("rounds:\n", f"{made}{taken}rounds:\n"))


def test_overrides_reach_steps_and_all_of_them() -> None:
    short = ["steps.sft.set.optimization.max_steps=7", "rounds.count=1", "set.seed=5", "output=runs/other"]
    found = {step.name: step.recipe for step in pipeline(GOOD, *short).steps}
    assert found["sft"].optimization.max_steps == 7 and len(found) == 5
    assert {recipe.seed for recipe in found.values()} == {5}
    assert found["round-1/samples"].model.adapter == "runs/other/sft"


MISTAKES = {
    # what is changed: into what, its code, line and column, part of what is said
    "no such step": (
        "model.adapter: step:sft",
        "model.adapter: step:stf",
        "E060",
        "9:22",
        "step `helpful`: there is no step `stf`",
    ),
    "no such round": (
        "{helpfulness: step:helpful}\n        keep",
        "{helpfulness: step:round-9/x}\n        keep",
        "E060",
        "18:31",
        "`round-9/x`",
    ),
    "no first": ("  first: step:sft\n", "", "E060", "16:24", "what the first round begins with"),
    "first is no model": ("first: step:sft", "first: step:helpful", "E060", "12:10", "step of reward"),
    "first is a word": ("first: step:sft", "first: sft", "E060", "12:10", "names no step"),
    "previous outside": (
        "model.adapter: step:sft",
        "model.adapter: step:previous",
        "E060",
        "9:22",
        "steps of rounds",
    ),
    "earlier of nothing": ("[earlier:samples]", "[earlier:sft]", "E060", "19:21", "`sft`"),
    "earlier outside of a list": (
        "keep.pool: [earlier:samples]",
        "keep.pool: earlier:samples",
        "E060",
        "19:20",
        "several rounds",
    ),
    "a circle": ("step:previous", "step:tuned", "E061", "17:24", "wait for each other"),
    "rows from a model": (
        "run: all:samples",
        "run: step:sft",
        "E062",
        "24:18",
        "sft takes conversations; `sft` is a step of sft",
    ),
    "a model from rows": (
        "model.adapter: step:tuned",
        "model.adapter: step:samples",
        "E062",
        "30:24",
        "leaves conversations and preferences",
    ),
    "a judge that writes": (
        "{helpfulness: step:helpful}\n        keep",
        "{helpfulness: step:sft}\n        keep",
        "E062",
        "18:31",
        "is a reward model",
    ),
    "a policy that scores": (
        "model.adapter: step:tuned",
        "model.adapter: step:helpful",
        "E062",
        "30:24",
        "a model that writes",
    ),
    "an adapter as base": (
        "model.adapter: step:tuned",
        "model.base: step:tuned",
        "E062",
        "30:21",
        "a whole model",
    ),
    "a run where none is": (
        "model.adapter: step:tuned",
        "chat.system: step:tuned",
        "E062",
        "30:22",
        "names no run",
    ),
    "no such recipe": (
        "recipe: pico/ppo",
        "recipe: pico/pop",
        "E033",
        "27:15",
        "step `round-3/ppo`: recipe `pico/pop`",
    ),
    "a pipeline as a step": ("recipe: pico/ppo", "recipe: all.yaml", "E063", "27:15", "is a pipeline"),
    "a name that is taken": ("  helpful:\n", "  round-2:\n", "E063", "6:3", "cannot be called"),
    "an output of its own": (
        "keep.pool: [earlier:samples]",
        "output: runs/mine",
        "E026",
        "19:9",
        "what the pipeline says",
    ),
    "a key of no stage": (
        "keep.pool: [earlier:samples]",
        "keep.pol: []",
        "E021",
        "19:19",
        "unknown key `pol` in `keep`",
    ),
    "a value of a step": (
        "keep.pool: [earlier:samples]",
        "sampling.samples: many",
        "E022",
        "19:27",
        "step `round-1/samples`",
    ),
    "an unknown key": ("  count: 3\n", "  counts: 3\n  count: 3\n", "E021", "11:3", "unknown key `counts`"),
    "a round too many": ("only: [last]", "only: [4]", "E025", "28:14", "round 4 of 3"),
    "a card": ("card: pico-sft-helpful", "card: pico-sft-helpfull", "E150", "25:19", "pico-sft-helpful"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_its_place(name: str) -> None:
    old, new, code, place, said = MISTAKES[name]
    problem = only(old, new)
    assert (problem.code, problem.place) == (code, f"all.yaml:{place}"), problem
    assert said in problem.what and problem.why and problem.hint, problem


def test_a_mistake_in_the_recipe_of_a_step_is_shown_there() -> None:
    Path("mine.yaml").write_text(
        "stage: sft\noutput: runs/x\ndata: {train: [{card: pico-sft-helpful}]}\nsede: 1\n"
    )
    problem = only("recipe: pico/sft\n  helpful", "recipe: mine.yaml\n  helpful")
    assert (problem.code, problem.place) == ("E021", "mine.yaml:4:1") and "step `sft`" in problem.what


def test_an_adapter_belongs_to_one_base() -> None:
    Path("base").mkdir()
    assert pipeline(GOOD, "set.model.base=base", "steps.helpful.set.model.base=./base"), "one folder"
    found = problems(GOOD, "steps.helpful.set.model.base=./base")
    assert [(one.code, one.place) for one in found] == [("E062", "all.yaml:9:22")]
    assert "an adapter on `./base`, and that of the step is on `pico`" in found[0].what


def test_all_mistakes_at_once_and_each_of_a_round_once() -> None:
    wrong = GOOD.replace("step:helpful}\n        keep", "step:helpfull}\n        keep")
    wrong = wrong.replace(
        "  helpful:\n    recipe: pico/reward_helpful", "  helpful:\n    recipe: pico/reward_helpfull"
    )
    assert [one.place for one in problems(wrong)] == ["all.yaml:7:13"], "first, that a step has a recipe"
    wrong = GOOD.replace("helpfulness: step:helpful", "helpfulness: step:helpfull")
    assert [one.place for one in problems(wrong)] == ["all.yaml:18:31", "all.yaml:31:31"]


def test_a_step_that_the_round_does_not_have_yet() -> None:
    found = problems(GOOD.replace("step:previous", "step:ppo"))
    assert [(one.code, one.place) for one in found] == [
        ("E060", "all.yaml:17:24"),
        ("E061", "all.yaml:17:24"),
    ]
    assert "no `ppo` before or in round 1" in found[0].what and "`round-3/tuned`" in found[1].what


def test_a_folder_of_something_else() -> None:
    Path("runs/all").mkdir(parents=True)
    Path("runs/all/resolved.yaml").write_text("stage: sft\n")
    (found,) = problems(GOOD)
    assert (found.code, found.place) == ("E031", "all.yaml:2:9") and "holds a run" in found.what
    Path("runs/all/resolved.yaml").rename("runs/all/pipeline.yaml")
    assert pipeline(GOOD).output == "runs/all"
    Path("r.yaml").write_text("stage: sft\noutput: runs/all\ndata: {train: [{card: pico-sft-helpful}]}\n")
    (found,) = load_with_problems("r.yaml")[1]
    assert found.code == "E031" and "holds a pipeline" in found.what


def test_what_needs_one_stage_says_so() -> None:
    Path("all.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match=r"E065.*all.yaml. is a pipeline"):
        load_stage("all.yaml")
    with pytest.raises(RecipeError, match="E020"):
        loads(GOOD)
