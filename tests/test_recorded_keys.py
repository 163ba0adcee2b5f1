"""Stored data of users stays valid: results by their keys, and graphs by their nodes' names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded_keys import keys

from comfy_nodes.describe import nodes

RECORDED = Path(__file__).parent / "recorded"
NODES = json.loads((RECORDED / "nodes.json").read_text(encoding="utf-8"))


def test_the_keys_of_the_examples_are_what_they_were(tmp_path):
    """A changed key makes every user train again. To record new keys: python tests/recorded_keys.py FILE."""
    assert keys(tmp_path) == json.loads((RECORDED / "keys.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("node", NODES)
def test_a_saved_graph_finds_its_nodes_and_their_sockets(node):
    """Rename a class with `stored_name="Old"`, a knob with `param(key="old")`, a file with `RENAMED`: nothing changes."""
    now = nodes()[node]
    assert {name: now.input(name).socket for name in NODES[node]["inputs"]} == NODES[node]["inputs"]
    outputs = [f"{each.name}: {each.socket}" for each in now.outputs]
    assert outputs[: len(NODES[node]["outputs"])] == NODES[node]["outputs"], "links go by an output's place"
