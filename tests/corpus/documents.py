"""Expensive documents below 1 MB: each would cost an unlimited reader much time, memory or stack.

`HEAVY` maps a name to the text of a pipeline. They use only stages of lorapipe, and one folder `photos` beside them.
"""

from __future__ import annotations

from collections.abc import Callable

LIMIT = 1_000_000
"""Bytes of the largest document that is read."""
BASE = "base: {family: sd15, checkpoint: pocket}"
DATASET = f"  dataset: {{uses: prepare, images: photos, {BASE}}}\n"
TRAIN = DATASET + "  penny: {uses: train, dataset: $dataset}\n"

HEAVY: dict[str, str] = {}


def heavy(make: Callable[[], str]) -> Callable[[], str]:
    """Put a document into the table under its function's name."""
    text = make()
    assert len(text.encode()) <= LIMIT, (make.__name__, len(text.encode()))
    HEAVY[make.__name__.replace("_", " ")] = text
    return make


def stages(body: str, head: str = "") -> str:
    """Return a pipeline with these lines of stages."""
    return f"{head}stages:\n{body}"


def lines(count: int, line: str) -> str:
    """Return a line for each number, with `#` replaced by the number."""
    return "".join(line.replace("#", str(number)) + "\n" for number in range(count))


def when(condition: str) -> str:
    """Return a pipeline with one conditional stage."""
    return stages(
        f"  dataset:\n    uses: prepare\n    when: {condition}\n    images: photos\n    {BASE}\n", "vars: {a: true}\n"
    )


# --------------------------------------------------------------------------------------------------------- conditions


@heavy
def a_condition_of_400_kilobytes() -> str:
    return when('"' + "${a} and " * 50_000 + '${a}"')


@heavy
def a_condition_of_one_long_word() -> str:
    return when("x" * 900_000)


@heavy
def a_condition_of_spaces() -> str:
    return when('"${a}' + " " * 900_000 + '!"')


@heavy
def a_condition_with_3000_brackets() -> str:
    return when('"' + "(" * 3000 + "${a}" + ")" * 3000 + '"')


@heavy
def a_condition_with_3000_lists() -> str:
    return when('"1 in ' + "[" * 3000 + "]" * 3000 + '"')


@heavy
def a_condition_with_3000_nots() -> str:
    return when('"' + "not " * 3000 + '${a}"')


@heavy
def a_condition_with_a_list_of_100000() -> str:
    return when('"${a} in [' + "1," * 100_000 + '2]"')


@heavy
def conditions_that_each_compare_a_large_list() -> str:
    head = "vars:\n  big: [" + "1," * 40_000 + "2]\n"
    return stages(lines(5000, f"  s#: {{uses: prepare, when: '${{big}} == ${{big}}', images: photos, {BASE}}}"), head)


# ----------------------------------------------------------------------------------------------------------- matrices


def matrix(entries: str) -> str:
    """Return a pipeline with a training matrix."""
    return stages(TRAIN.replace("penny: {", f"penny: {{matrix: {{{entries}}}, "))


@heavy
def include_with_8000_entries() -> str:
    return matrix("adapter.rank: [4, 8], include: [" + lines(8000, "{adapter.rank: #, steps: #},") + "]")


@heavy
def include_with_20000_entries() -> str:
    return matrix("include: [" + lines(20_000, "{adapter.rank: #},") + "]")


@heavy
def exclude_with_20000_entries() -> str:
    numbers = ", ".join(map(str, range(1, 1001)))
    return matrix(f"adapter.rank: [{numbers}], exclude: [" + lines(20_000, "{adapter.rank: 9#},") + "]")


@heavy
def a_matrix_of_30_settings() -> str:
    return matrix(", ".join(f"noise.offset{number}: [0, 1]" for number in range(30)))


@heavy
def a_matrix_of_20000_axes() -> str:
    return matrix(", ".join(f"a{number}: [0]" for number in range(20_000)))


def cells(count: int) -> str:
    """Return values for a matrix of so many cells."""
    return ", ".join(map(str, range(1, count + 1)))


@heavy
def cells_1000_of_a_stage_with_a_list_of_20000() -> str:
    prompts = ", ".join(f"p{number}" for number in range(20_000))
    body = f"  grid: {{uses: evaluate, matrix: {{steps: [{cells(1000)}]}}, weights: $penny, prompts: [{prompts}]}}\n"
    return stages(TRAIN + body)


@heavy
def cells_1000_that_each_refer_to_1000() -> str:
    many = f"  penny: {{uses: train, matrix: {{steps: [{cells(1000)}]}}, dataset: $dataset}}\n"
    more = f"  other: {{uses: train, matrix: {{steps: [{cells(1000)}]}}, dataset: $dataset, more_datasets: [$penny]}}\n"
    return stages(DATASET + many + more)


@heavy
def a_list_that_refers_to_1000_cells_1000_times() -> str:
    many = f"  data: {{uses: prepare, matrix: {{min_size: [{cells(1000)}]}}, images: photos, {BASE}}}\n"
    more = "  penny: {uses: train, dataset: $dataset, more_datasets: [" + "$data, " * 1000 + "$data]}\n"
    return stages(DATASET + many + more)


@heavy
def a_chain_of_5000_matrices() -> str:
    first = f"  s0: {{uses: prepare, matrix: {{min_size: [1, 2]}}, images: photos, {BASE}}}\n"
    rest = "".join(f"  s{n}: {{uses: train, matrix: $s{n - 1}, dataset: $s{n - 1}}}\n" for n in range(1, 5000))
    return stages(first + rest)


@heavy
def ten_matrices_of_1000() -> str:
    one = f"matrix: {{min_size: [{cells(1000)}]}}, images: photos, {BASE}"
    return stages("".join(f"  s{n}: {{uses: prepare, {one}}}\n" for n in range(20)))


@heavy
def a_cell_in_a_long_text() -> str:
    text = "${cell}" * 20_000
    one = f"matrix: {{steps: [{cells(1000)}]}}, dataset: $dataset, preview_prompts: ['{text}']"
    return stages(DATASET + f"  penny: {{uses: train, {one}}}\n")


@heavy
def a_matrix_value_that_is_a_large_list() -> str:
    big = "[" + "1," * 20_000 + "2]"
    return matrix(f"strengths: [&big {big}, *big, *big], steps: [{cells(300)}]")


# ---------------------------------------------------------------------------------------------- lists, words, mappings


@heavy
def prompts_60000() -> str:
    prompts = ", ".join(f"penny {number}" for number in range(60_000))
    return stages(TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: [{prompts}]}}\n")


@heavy
def prompts_that_are_alike() -> str:
    return stages(TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: [{'x,' * 60_000} x]}}\n")


@heavy
def prompts_that_are_numbers() -> str:
    return stages(TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: [{'1,' * 60_000} 2]}}\n")


@heavy
def unknown_settings_60000() -> str:
    return stages(f"  dataset:\n    uses: prepare\n    images: photos\n    {BASE}\n" + lines(60_000, "    a#: 1"))


@heavy
def unknown_top_keys_60000() -> str:
    return stages(DATASET) + lines(60_000, "key#: 1")


@heavy
def variables_60000() -> str:
    return stages(DATASET.replace("photos", '"${nobody}"'), "vars:\n" + lines(60_000, "  a#: 1"))


@heavy
def unknown_variables_40000() -> str:
    prompts = ", ".join(f'"${{a{number}}}"' for number in range(40_000))
    return stages(
        TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: [{prompts}]}}\n",
        "vars:\n" + lines(9000, "  b#: 1"),
    )


@heavy
def keys_twice_60000() -> str:
    return stages(DATASET) + lines(60_000, "stages: 1")


@heavy
def names_that_cannot_be_20000() -> str:
    return stages(lines(20_000, '  "a #": {uses: prepare}'))


@heavy
def a_key_of_900_kilobytes() -> str:
    return stages(DATASET) + "k" * 900_000 + ": 1\n"


@heavy
def a_quoted_key_of_900_kilobytes() -> str:
    return stages(DATASET) + '? "' + "k" * 900_000 + '"\n: 1\n'


@heavy
def a_setting_of_900_kilobytes() -> str:
    return stages(f'  dataset:\n    uses: prepare\n    ? "{"k" * 900_000}"\n    : 1\n')


@heavy
def a_reference_of_900_kilobytes() -> str:
    return stages(DATASET + f"  penny: {{uses: train, dataset: ${'k' * 900_000}}}\n")


@heavy
def a_reference_through_300000_fields() -> str:
    return stages(DATASET + f"  penny: {{uses: train, dataset: $dataset{'.a' * 300_000}}}\n")


@heavy
def a_kind_of_900_kilobytes() -> str:
    return stages(f"  dataset: {{uses: {'k' * 900_000}}}\n")


@heavy
def a_path_of_900_kilobytes() -> str:
    return stages(DATASET.replace("photos", "p" * 900_000))


@heavy
def a_path_of_300000_folders() -> str:
    return stages(DATASET.replace("photos", "a/" * 300_000))


@heavy
def a_path_that_goes_up_300000_times() -> str:
    return stages(DATASET.replace("photos", "../" * 300_000))


@heavy
def a_prompt_of_900_kilobytes() -> str:
    return stages(TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: [{'p' * 900_000}]}}\n")


@heavy
def a_number_of_900000_digits() -> str:
    return stages(DATASET + f"  penny: {{uses: train, dataset: $dataset, steps: {'9' * 900_000}}}\n")


@heavy
def a_length_of_900000_digits() -> str:
    return stages(DATASET + f"  penny: {{uses: train, dataset: $dataset, steps: {'9' * 900_000} steps}}\n")


@heavy
def a_time_of_900000_digits() -> str:
    return stages(DATASET.replace("uses", f"timeout: {'9' * 900_000} h, uses"))


@heavy
def a_seed_of_30_digits() -> str:
    return stages(DATASET + f"  penny: {{uses: train, dataset: $dataset, seed: {'9' * 30}}}\n")


@heavy
def a_rate_of_1e400() -> str:
    return stages(DATASET + "  penny: {uses: train, dataset: $dataset, unet_lr: 1e400, steps: 1e300}\n")


@heavy
def a_comment_of_900_kilobytes() -> str:
    return f"# {'c' * 900_000}\n" + stages(DATASET)


@heavy
def comments_300000() -> str:
    return "#\n" * 300_000 + stages(DATASET)


@heavy
def empty_lines_900000() -> str:
    return "\n" * 900_000 + stages(DATASET)


@heavy
def empty_lines_of_carriage_returns() -> str:
    return "\r" * 900_000 + stages(DATASET)


@heavy
def documents_200000() -> str:
    return "---\n" * 200_000


@heavy
def letters_of_four_bytes() -> str:
    return stages(DATASET + f"  penny: {{uses: train, dataset: $dataset, {'😀' * 200_000}: 1}}\n")


@heavy
def names_in_unicode() -> str:
    return stages(lines(20_000, "  단계#: {uses: prepare, imags: photos}"))


# ------------------------------------------------------------------------------------------------------------- nesting


@heavy
def lists_450000_deep() -> str:
    return "[" * 450_000 + "]" * 450_000


@heavy
def mappings_30000_deep() -> str:
    return "{a: " * 200_000


@heavy
def block_lists_400000_deep() -> str:
    return "- " * 400_000


@heavy
def nested_by_indentation() -> str:
    return "".join(" " * depth + "a:\n" for depth in range(1300))


@heavy
def aliases_of_aliases() -> str:
    rows = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    return stages(DATASET) + "a0: &a0 [x]\n" + rows


@heavy
def an_alias_150000_times() -> str:
    return "a: &a x\nb: [" + "*a," * 150_000 + "*a]\n"


@heavy
def anchors_80000() -> str:
    return "a: [" + ", ".join(f"&a{n} x" for n in range(70_000)) + "]\n"


@heavy
def unknown_aliases_150000() -> str:
    return "a: [" + "*b," * 150_000 + "*b]\n"


@heavy
def tags_60000() -> str:
    return "a: [" + "!x y," * 100_000 + "z]\n"


@heavy
def keys_that_are_lists() -> str:
    return "[1]: 2\n" * 100_000


# ----------------------------------------------------------------------------------------------------------- variables


@heavy
def a_text_5000_times() -> str:
    big = "x" * 480_000
    return stages(
        TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: ['{'${a}' * 5000}']}}\n", f"vars: {{a: {big}}}\n"
    )


@heavy
def a_text_in_5000_prompts() -> str:
    big, prompts = "x" * 480_000, ", ".join(["'${a}y'"] * 5000)
    return stages(
        TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: [{prompts}]}}\n", f"vars: {{a: {big}}}\n"
    )


@heavy
def a_list_in_5000_places() -> str:
    big, prompts = "[" + "x," * 20_000 + "y]", ", ".join(["'${a}'"] * 5000)
    return stages(
        TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: [{prompts}]}}\n", f"vars: {{a: {big}}}\n"
    )


@heavy
def variables_that_double_themselves() -> str:
    rows = "".join(f"  a{n}: ${{a{n - 1}}}${{a{n - 1}}}\n" for n in range(1, 40))
    return stages(DATASET.replace("photos", '"${a39}"'), f"vars:\n  a0: x\n{rows}")


@heavy
def lists_of_variables_that_double_themselves() -> str:
    rows = "".join(f'  a{n}: ["${{a{n - 1}}}", "${{a{n - 1}}}"]\n' for n in range(1, 40))
    return stages(DATASET.replace("photos", '"${a39}"'), f"vars:\n  a0: x\n{rows}")


@heavy
def a_chain_of_800_variables() -> str:
    rows = "".join(f"  a{n}: ${{a{n - 1}}}\n" for n in range(1, 800))
    return stages(DATASET.replace("photos", '"${a799}"'), f"vars:\n  a0: photos\n{rows}")


@heavy
def a_ring_of_20000_variables() -> str:
    rows = "".join(f"  a{n}: ${{a{(n + 1) % 20_000}}}\n" for n in range(20_000))
    return stages(DATASET.replace("photos", '"${a0}"'), f"vars:\n{rows}")


@heavy
def a_variable_in_20000_places() -> str:
    prompts = ", ".join(f"'${{a}} {n}'" for n in range(20_000))
    return stages(TRAIN + f"  grid: {{uses: evaluate, weights: $penny, prompts: [{prompts}]}}\n", "vars: {a: penny}\n")


@heavy
def marks_of_variables_without_an_end() -> str:
    return stages(DATASET.replace("photos", "'" + "${" * 400_000 + "'"))


@heavy
def a_variable_of_900_kilobytes() -> str:
    return stages(DATASET.replace("photos", "'${" + "a" * 900_000 + "}'"))


# -------------------------------------------------------------------------------------------------------------- stages


@heavy
def a_ring_of_5000_stages() -> str:
    return stages("".join(f"  s{n}: {{uses: train, dataset: $s{(n + 1) % 5000}}}\n" for n in range(5000)))


@heavy
def a_ring_of_5000_that_fits() -> str:
    one = "uses: evaluate, prompts: [a, b], weights: "
    rows = "".join(
        f"  s{n}: {{uses: export, format: kohya, to: o, weights: $s{(n + 1) % 5000}}}\n" for n in range(5000)
    )
    return stages(rows + f"  grid: {{{one}$s0}}\n")


@heavy
def a_chain_of_5000_stages() -> str:
    return stages("".join(f"  s{n}: {{uses: train, dataset: $s{n + 1}}}\n" for n in range(5000)) + DATASET)


@heavy
def stages_9000_with_an_unknown_reference() -> str:
    return stages(lines(9000, "  stage#: {uses: train, dataset: $stag#}"))


@heavy
def stages_20000_without_settings() -> str:
    return stages(lines(20_000, "  s#: prepare"))


@heavy
def stages_60000_that_are_nothing() -> str:
    return stages(lines(60_000, "  s#: "))


@heavy
def stages_that_are_right() -> str:
    return stages(lines(12_000, f"  s#: {{uses: prepare, images: photos, {BASE}}}"))


@heavy
def trainings_that_are_right() -> str:
    return stages(DATASET + lines(9000, "  s#: {uses: train, dataset: $dataset}"))


@heavy
def stages_3100_that_are_right() -> str:
    datasets = lines(1030, f"  d#: {{uses: prepare, images: photos, {BASE}}}")
    trainings = lines(1030, "  s#: {uses: train, dataset: $d7, adapter: {type: lora, rank: 8}, steps: 10 epochs}")
    return stages(
        DATASET + datasets + trainings + lines(1030, "  f#: {uses: export, weights: $s#, to: o#.safetensors}")
    )


@heavy
def cells_3000_that_are_right() -> str:
    many = f"  penny: {{uses: train, matrix: {{steps: [{cells(1000)}]}}, dataset: $dataset}}\n"
    grid = "  grid: {uses: evaluate, matrix: $penny, weights: $penny, prompts: [a, b, c, '${cell}']}\n"
    return stages(
        DATASET
        + many
        + grid
        + "  file: {uses: export, matrix: $grid, weights: $grid.best, to: 'o-${cell}.safetensors'}\n"
    )


@heavy
def datasets_3100_that_are_right() -> str:
    return stages(lines(3100, f"  s#: {{uses: prepare, images: photos, {BASE}}}"))


@heavy
def datasets_3100_that_differ() -> str:
    return stages(lines(3100, f"  s#: {{uses: prepare, images: photos, min_size: 1#, {BASE}}}"))


@heavy
def exports_to_3100_places() -> str:
    return stages(TRAIN + lines(3100, "  s#: {uses: export, weights: $penny, to: out/o#.safetensors}"))


@heavy
def matrices_1500_of_two() -> str:
    return stages(DATASET + lines(1500, "  s#: {uses: train, dataset: $dataset, matrix: {adapter.rank: [4, 8]}}"))


@heavy
def a_training_on_3100_datasets() -> str:
    names = ", ".join(f"$s{number}" for number in range(3100))
    return stages(
        lines(3100, f"  s#: {{uses: prepare, images: photos, {BASE}}}")
        + f"  x: {{uses: train, dataset: $s0, more_datasets: [{names}]}}\n"
    )


@heavy
def trainings_900_on_60_datasets() -> str:
    names = ", ".join(f"$d{number}" for number in range(60))
    return stages(
        lines(60, f"  d#: {{uses: prepare, images: photos, {BASE}}}")
        + lines(900, f"  s#: {{uses: train, dataset: $d0, more_datasets: [{names}]}}")
    )


@heavy
def sets_of_variables_that_are_lists() -> str:
    head = "vars:\n  all: [" + ", ".join(f"p{number}" for number in range(300)) + "]\n"
    return stages(TRAIN + lines(150, "  s#: {uses: evaluate, weights: $penny, prompts: '${all}'}"), head)


@heavy
def optimizers_of_3100_trainings() -> str:
    return stages(
        DATASET
        + lines(
            3000, "  s#: {uses: train, dataset: $dataset, optimizer: {type: library, use: Adan#, arguments: {a: #}}}"
        )
    )


@heavy
def trainings_3100_that_are_right() -> str:
    return stages(
        DATASET
        + lines(3100, "  s#: {uses: train, dataset: $dataset, more_datasets: [$dataset], optimizer: {type: prodigy}}")
    )


@heavy
def stages_with_an_unknown_base() -> str:
    return stages(lines(9000, "  s#: {uses: prepare, images: photos, base: {family: sd51, checkpoint: pocket}}"))


@heavy
def stages_with_a_missing_path() -> str:
    return stages(lines(9000, f"  s#: {{uses: prepare, images: phots, {BASE}}}"))


@heavy
def sources_of_one_stage() -> str:
    return stages(
        TRAIN + "  x: {uses: train, dataset: $dataset, more_datasets: [" + "$dataset," * 50_000 + "$dataset]}\n"
    )


@heavy
def wide_arguments() -> str:
    inner = ", ".join(f"a{n}: {n}" for n in range(50_000))
    return stages(
        DATASET + f"  x: {{uses: train, dataset: $dataset, optimizer: {{type: library, arguments: {{{inner}}}}}}}\n"
    )


@heavy
def rates_of_50000_blocks() -> str:
    inner = ", ".join(f"IN{n:02}: 1" for n in range(50_000))
    return stages(DATASET + f"  x: {{uses: train, dataset: $dataset, block_rates: {{{inner}}}}}\n")


# ---------------------------------------------------------------------------------------------------------- not YAML


@heavy
def a_quote_that_never_ends() -> str:
    return 'a: "' + "x\n" * 400_000


@heavy
def tabs() -> str:
    return "a:\n" + "\tb: 1\n" * 150_000


@heavy
def no_break_spaces() -> str:
    return "a:\n" + "\u00a0\u00a0b: 1\n" * 90_000


@heavy
def colons() -> str:
    return "a: " * 300_000


@heavy
def odd_marks() -> str:
    return "a:\n" + "  b= “1”: `x @\n" * 40_000


@heavy
def a_toml_file() -> str:
    return "[model]\n" + "network_dim = 32\n" * 50_000


@heavy
def a_json_file() -> str:
    return '{"a": [' + "1, " * 300_000 + "2]}"


@heavy
def deep_json() -> str:
    return '{"network_dim": ' + "[" * 450_000 + "]" * 450_000 + "}"


@heavy
def a_list_for_extends() -> str:
    return "extends: [" + "a.yaml, " * 100_000 + "a.yaml]\n" + stages(DATASET)
