"""What runs again is what depends on the change, and nothing else: over random graphs, and random states of them."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from llamatune.runs.due import Doing, Due, Standing, depending, due

FINISHED = Standing("finished")


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Steps, each of which takes something from some of those before it."""
    names = [f"step-{number}" for number in range(draw(st.integers(1, 12)))]
    return {
        name: tuple(sorted(draw(st.sets(st.sampled_from(names[:number]), max_size=4)))) if number else ()
        for number, name in enumerate(names)
    }


def above(needs: dict[str, tuple[str, ...]], name: str) -> set[str]:
    """A step and all that it depends on, by following its needs."""
    found, open_ = set(), [name]
    while open_:
        one = open_.pop()
        found.add(one)
        open_ += needs[one]
    return found


states = st.sampled_from(
    [FINISHED, Standing("absent"), Standing("unfinished"), Standing("finished", ("seed: 0 -> 1",))]
)


@given(graphs(), st.data())
def test_what_runs_is_what_is_not_done_and_what_depends_on_it(
    needs: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    standing = {name: data.draw(states) for name in needs}
    found = due(needs, standing)
    runs = {name for name in needs if found[name].doing.runs}
    assert runs == {name for name in needs if any(standing[one] != FINISHED for one in above(needs, name))}
    for name, one in found.items():
        if one.doing is Doing.FOLLOW:
            assert standing[name].state != "absent" and set(
                one.why.removeprefix("takes from ").split(", ")
            ) == (runs & set(needs[name]))


@given(graphs(), st.data())
def test_depending_is_the_other_way_round(needs: dict[str, tuple[str, ...]], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(needs)))
    assert depending(needs, name) == {one for one in needs if name in above(needs, one)}


@given(graphs(), st.data())
def test_steps_that_were_not_chosen_are_left(needs: dict[str, tuple[str, ...]], data: st.DataObject) -> None:
    standing = {name: data.draw(states) for name in needs}
    chosen = data.draw(st.sets(st.sampled_from(list(needs))))
    found = due(needs, standing, chosen)
    assert all(name in chosen for name in needs if found[name].doing.runs)
    left = {name for name in needs if found[name].doing is Doing.LEAVE}
    assert {name for name in needs if name not in chosen and standing[name] != FINISHED} <= left
    assert not left & chosen and all(found[name].doing.runs for name in chosen if standing[name] != FINISHED)


class Folder:
    """Steps that leave a hash of their recipe and of what they take; a result is done while both are the same."""

    def __init__(self, needs: dict[str, tuple[str, ...]]) -> None:
        self.needs = needs
        self.recipes = dict.fromkeys(needs, "first")
        self.made: dict[str, tuple[str, str]] = {}
        """Name -> what it was made from, and what it left."""

    def source(self, name: str) -> str:
        return "|".join([self.recipes[name], *(self.made[one][1] for one in self.needs[name])])

    def run(self) -> list[str]:
        """As pipeline.py does: each step is looked at once those that it needs are done."""
        ran = []
        for name in self.needs:
            there = self.made.get(name)
            changed = () if there is None or there[0] == self.source(name) else ("changed",)
            standing = Standing("absent") if there is None else Standing("finished", changed)
            if due({name: ()}, {name: standing})[name].doing.runs:
                ran.append(name)
                # Another wording of the same recipe leaves the same.
                left = self.source(name).replace("reworded", "first")
                self.made[name] = (self.source(name), hashlib.sha256(left.encode()).hexdigest())
        return ran


@given(graphs(), st.data())
def test_a_change_runs_what_depends_on_it_once(
    needs: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    folder = Folder(needs)
    assert folder.run() == list(needs) and folder.run() == []
    name = data.draw(st.sampled_from(list(needs)))
    folder.recipes[name] = "second"
    before = {one: left for one, (_, left) in folder.made.items()}
    foretold = due(needs, {one: Standing("finished", ("x",) if one == name else ()) for one in needs})
    assert folder.run() == [one for one in needs if foretold[one].doing.runs]
    assert {one for one in needs if folder.made[one][1] != before[one]} == depending(needs, name)
    assert folder.run() == []


@given(graphs(), st.data())
def test_what_comes_out_the_same_ends_the_change(
    needs: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    folder = Folder(needs)
    folder.run()
    name = data.draw(st.sampled_from(list(needs)))
    folder.recipes[name] = "reworded"
    assert folder.run() == [name] and folder.run() == []


def test_why_is_said() -> None:
    needs = {"a": (), "b": ("a",), "c": ("b",), "d": ()}
    standing = {name: FINISHED for name in needs} | {"a": Standing("finished", ("seed: 0 -> 1", "x: 1 -> 2"))}
    assert due(needs, standing) == {
        "a": Due(Doing.AGAIN, "seed: 0 -> 1, and 1 more"),
        "b": Due(Doing.FOLLOW, "takes from a"),
        "c": Due(Doing.FOLLOW, "takes from b"),
        "d": Due(Doing.REUSE),
    }
