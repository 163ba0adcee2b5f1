"""The search of a tuning, against trainings whose best settings are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest

from lorapipe.tuning.judgement import Advice, Judgement
from lorapipe.tuning.search import WORSE, Change, End, Limits, Round, best_of, next_change

RATES = frozenset({"unet_lr", "text_encoder_lr"})


def judged(state: str, merit: float, patch: Mapping[str, float] | None = None, *more: Mapping[str, float]) -> Judgement:
    patches = [each for each in (patch, *more) if each]
    advice = tuple(Advice(f"Change {', '.join(each)}.", each) for each in patches)
    return Judgement("grid", state, "", 1.0, 100, merit, advice=advice)


def first(values: Mapping[str, float], *judgements: Judgement) -> Round:
    return Round(values, judgements)


def after(rounds: list[Round], change: Change, *judgements: Judgement, seconds: float = 0.0) -> Round:
    base = rounds[change.base]
    values, settings = {**base.values, **change.values}, {**base.change, **change.values}
    return Round(values, judgements, settings, change.base, change.origin, (*change.values,), seconds)


Judge = Callable[[Mapping[str, float]], Judgement]


def tuned(start: Mapping[str, float], judge: Judge, free: frozenset[str] = RATES, most: int = 12) -> list[Round]:
    """Run the search to its end."""
    rounds = [first(start, judge(start))]
    while isinstance(change := next_change(rounds, free, Limits(most)), Change):
        assert {*change.values} <= free
        rounds.append(after(rounds, change, judge({**rounds[change.base].values, **change.values})))
    return rounds


def change_of(rounds: list[Round], free: frozenset[str] = RATES, limits: Limits | None = None) -> Change:
    found = next_change(rounds, free, limits or Limits())
    assert isinstance(found, Change), found
    return found


# ------------------------------------------------------------------------------------------------ one rule at a time


def test_it_ends_where_every_judge_calls_it_good() -> None:
    good, bad = judged("good", 0.8), judged("under-trained", 0.6, {"unet_lr": 2e-4})
    assert next_change([first({"unet_lr": 1e-4}, good)], RATES, Limits()) == End(0, "good")
    assert change_of([first({"unet_lr": 1e-4}, good, bad)]).values == {"unet_lr": 2e-4}


def test_a_good_round_is_changed_once_for_a_better_one() -> None:
    start = first({"unet_lr": 1e-4, "steps": 600}, judged("good", 0.6, {"unet_lr": 2e-4}))
    change = change_of([start])
    assert (change.values, change.state) == ({"unet_lr": 2e-4}, "good")
    better = after([start], change, judged("good", 0.7, {"unet_lr": 4e-4}))
    again = change_of([start, better])
    assert (again.base, again.values) == (1, {"unet_lr": 4e-4}), "it went well, so it is changed again, and no further"
    worse = after([start], change, judged("over-trained", 0.5, {"unet_lr": 1e-4}))
    assert next_change([start, worse], RATES, Limits()) == End(0, "good")
    assert next_change([start], RATES, Limits(rounds=1)) == End(0, "good"), "no round is left, and it is good"
    shorter = first({"steps": 600}, judged("good", 0.6, {"steps": 300}))
    assert next_change([shorter], frozenset({"steps"}), Limits()) == End(0, "good"), "nothing is gained by stopping"


def test_good_at_another_strength_is_not_good_yet() -> None:
    found = Judgement("grid", "good", "", 0.7, 100, 0.8)
    assert next_change([first({"unet_lr": 1e-4}, found)], RATES, Limits()) == End(0, "nothing")


def test_only_free_settings_move() -> None:
    patch = {"unet_lr": 2e-4, "text_encoder_lr": 1e-4, "steps": 900.0}
    start = first({"text_encoder_lr": 5e-5}, judged("no effect", 0.0, patch))
    assert change_of([start], frozenset({"text_encoder_lr"})).values == {"text_encoder_lr": 1e-4}
    assert next_change([start], frozenset({"adapter.rank"}), Limits()) == End(0, "nothing")


def test_the_judge_that_thinks_least_of_it_is_heard_first() -> None:
    low, high = judged("no effect", 0.1, {"unet_lr": 2e-4}), judged("under-trained", 0.7, {"steps": 900.0})
    change = change_of([first({"unet_lr": 1e-4, "steps": 600}, high, low)], RATES | {"steps"})
    assert (change.values, change.state) == ({"unet_lr": 2e-4}, "no effect")


def test_a_patch_that_made_it_worse_is_taken_back_and_halved() -> None:
    rounds = [first({"unet_lr": 1e-4}, judged("under-trained", 0.6, {"unet_lr": 4e-4}))]
    rounds.append(after(rounds, change_of(rounds), judged("over-trained", 0.3, {"unet_lr": 2e-4})))
    change = change_of(rounds)
    assert (change.base, change.origin) == (0, "halved")
    assert change.values["unet_lr"] == pytest.approx(2e-4)  # halfway in the logarithm


def test_when_half_of_it_is_worse_too_the_next_advice_is_tried() -> None:
    free = RATES | {"adapter.rank"}
    found = judged("over-trained", 0.6, {"unet_lr": 5e-5}, {"adapter.rank": 8.0})
    rounds = [first({"unet_lr": 1e-4, "adapter.rank": 16}, found)]
    for _ in range(2):
        rounds.append(after(rounds, change_of(rounds, free), judged("under-trained", 0.2)))
    assert change_of(rounds, free).values == {"adapter.rank": 8.0}
    rounds.append(after(rounds, change_of(rounds, free), judged("under-trained", 0.2)))
    rounds.append(after(rounds, change_of(rounds, free, Limits(9)), judged("under-trained", 0.2)))
    assert next_change(rounds, free, Limits(9)) == End(0, "nothing")


def test_opposed_verdicts_bracket_and_bisect() -> None:
    rounds = [first({"unet_lr": 8e-4}, judged("broken", 0.0, {"unet_lr": 1e-4}))]
    rounds.append(after(rounds, change_of(rounds), judged("no effect", 0.02, {"unet_lr": 16e-4})))
    change = change_of(rounds)
    assert change.origin == "bisected" and change.values["unet_lr"] == pytest.approx(math.sqrt(8e-4 * 1e-4))


def test_the_same_advice_again_goes_twice_as_far() -> None:
    rounds = [first({"unet_lr": 8e-4}, judged("over-trained", 0.3, {"unet_lr": 4e-4}))]
    rounds.append(after(rounds, change_of(rounds), judged("over-trained", 0.4, {"unet_lr": 2e-4})))
    change = change_of(rounds)
    assert change.origin == "further" and change.values["unet_lr"] == pytest.approx(1e-4)


def test_steps_go_no_further_than_the_verdict_says() -> None:
    free = frozenset({"steps"})
    rounds = [first({"steps": 100}, judged("under-trained", 0.3, {"steps": 200.0}))]
    rounds.append(after(rounds, change_of(rounds, free), judged("under-trained", 0.4, {"steps": 300.0})))
    assert change_of(rounds, free).values == {"steps": 300.0}


def test_a_setting_of_0_is_set_and_halved_by_its_sum() -> None:
    free = frozenset({"captions.dropout"})
    rounds = [first({"captions.dropout": 0.0}, judged("burns", 0.5, {"captions.dropout": 0.1}))]
    rounds.append(after(rounds, change_of(rounds, free), judged("burns", 0.3)))
    assert change_of(rounds, free).values == {"captions.dropout": pytest.approx(0.05)}


def test_settings_that_a_stage_refuses_are_passed_over() -> None:
    start = first({"unet_lr": 1e-4, "steps": 600}, judged("no effect", 0.1, {"unet_lr": 2e-4}, {"steps": 900.0}))
    found = next_change([start], RATES | {"steps"}, Limits(), lambda settings: "unet_lr" not in settings)
    assert isinstance(found, Change) and found.values == {"steps": 900.0}


def test_it_ends_by_rounds_and_by_hours() -> None:
    start = Round({"unet_lr": 1e-4}, (judged("no effect", 0.0, {"unet_lr": 2e-4}),), seconds=1000)
    assert next_change([start], RATES, Limits(1)) == End(0, "rounds")
    assert next_change([start], RATES, Limits(5, seconds=1999)) == End(0, "hours")
    assert isinstance(next_change([start], RATES, Limits(5, seconds=2000)), Change)


def test_a_good_round_is_the_best_unless_it_is_clearly_worse_than_the_first() -> None:
    good, before = first({}, judged("good", 0.60)), first({}, judged("under-trained", 0.60 + WORSE - 0.01))
    assert best_of([before, good]) == 1
    assert best_of([first({}, judged("under-trained", 0.60 + WORSE + 0.01)), good]) == 0
    assert best_of([first({}, judged("over-trained", 0.20)), good, first({}, judged("under-trained", 0.9))]) == 1


def test_the_search_goes_on_from_a_round_that_is_clearly_better_than_a_good_one() -> None:
    values, patch = {"unet_lr": 8e-4}, {"unet_lr": 4e-4}
    rounds = [first(values, judged("good", 0.40, patch))]
    rounds.append(after(rounds, change_of(rounds), judged("under-trained", 0.70, {"unet_lr": 3e-4})))
    assert change_of(rounds).base == 1 and best_of(rounds) == 0


# ------------------------------------------------------------------------------------------- whole searches, simulated


def training(best: Mapping[str, float], width: float = 2.2) -> Judge:
    """Judges as a verdict does: merit falls with the distance from the best rates; both parts together, or one of them."""

    def judge(values: Mapping[str, float]) -> Judgement:
        off = {name: math.log(values[name] / best[name]) for name in best}
        merit = 0.85 * math.exp(-sum((each / math.log(width)) ** 2 for each in off.values()) / 2)
        if all(abs(each) < math.log(1.8) for each in off.values()):
            return judged("good", merit)
        worst = max(off, key=lambda name: abs(off[name]))
        alike = all(math.copysign(1, each) == math.copysign(1, off[worst]) for each in off.values())
        names = [*off] if alike else [worst]
        if off[worst] > math.log(6):
            return judged("broken", merit, {name: values[name] / 8 for name in names})
        factor = 0.5 if off[worst] > 0 else 2.0
        state = "over-trained" if off[worst] > 0 else "no effect"
        return judged(state, merit, {name: values[name] * factor for name in names})

    return judge


BEST = {"unet_lr": 1e-4, "text_encoder_lr": 5e-5}


@pytest.mark.parametrize("unet", [1 / 8, 1 / 3, 1, 3, 8, 20])
@pytest.mark.parametrize("text_encoder", [1 / 10, 1 / 3, 1, 10])
def test_bad_rates_are_mended(unet: float, text_encoder: float) -> None:
    start = {"unet_lr": unet * 1e-4, "text_encoder_lr": text_encoder * 5e-5}
    rounds = tuned(start, training(BEST))
    assert rounds[best_of(rounds)].is_good and len(rounds) <= 8


@pytest.mark.parametrize("factor", [1 / 8, 8])
def test_rates_eight_times_off_take_four_rounds_at_most(factor: float) -> None:
    rounds = tuned({name: value * factor for name, value in BEST.items()}, training(BEST))
    assert rounds[-1].is_good and len(rounds) <= 4


def test_it_never_ends_worse_than_it_began_whatever_the_verdicts_say() -> None:
    """Verdicts that always name the wrong way."""
    honest = training(BEST)

    def lying(values: Mapping[str, float]) -> Judgement:
        true = honest(values)
        turned = [{name: values[name] ** 2 / value for name, value in each.patch.items()} for each in true.advice]
        return judged("over-trained", true.merit, *turned)

    for factor in (0.4, 1.0, 2.5):
        rounds = tuned({name: value * factor for name, value in BEST.items()}, lying)
        assert rounds[best_of(rounds)].merit >= rounds[0].merit - WORSE
        assert len(rounds) < 12  # and it does not go on for ever


def test_the_search_is_a_function_of_its_rounds() -> None:
    """So a tuning that was killed goes on as it would have: from any number of its rounds."""
    rounds = tuned({"unet_lr": 8e-4, "text_encoder_lr": 5e-6}, training(BEST))
    for count in range(1, len(rounds)):
        change = change_of(rounds[:count], RATES, Limits(12))
        assert {**rounds[change.base].values, **change.values} == rounds[count].values
