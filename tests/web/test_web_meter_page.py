"""The page of meter as it is served: what may be chosen, and that nothing in it breaks the policy on scripts."""

import json
import re
from html import unescape

import pytest
from web_client import client_of

from earmark.tasks.meter.schema import SIGNATURES
from earmark.tasks.meter.signatures import grouping_by_rule
from earmark.web.page import HERE
from earmark.web.pages.meter import meters


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    with client_of(tmp_path_factory.mktemp("project")) as client:
        response = client.get("/meter")
        assert response.status_code == 200
        yield response.text


def test_meters_are_those_of_the_task_and_their_usual_grouping_comes_first():
    assert [one["name"] for one in meters()] == list(SIGNATURES)
    for one in meters():
        beats = int(one["name"].split("/")[0])
        assert tuple(one["groupings"][0]) == grouping_by_rule(beats)
        assert all(sum(grouping) == beats for grouping in one["groupings"])
        assert len({tuple(grouping) for grouping in one["groupings"]}) == len(one["groupings"])


def test_the_page_carries_its_options_and_no_inline_script_or_style(html):
    options = json.loads(unescape(re.search(r'data-options="([^"]*)"', html).group(1)))
    assert options["meters"] == meters()
    assert options["sample_rate"] == 22_050
    assert ".flac" in options["suffixes"]
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", html)


def test_every_script_of_the_page_is_served(html, tmp_path):
    addresses = re.findall(r'(?:src|href|data-worklet)="(/static/meter[^"]*)"', html)
    assert len(addresses) == len(list((HERE / "static").glob("meter*")))
    with client_of(tmp_path) as client:
        assert all(client.get(unescape(one)).status_code == 200 for one in addresses)


def test_every_label_names_an_input_and_every_id_is_used_once(html):
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    named = re.findall(r'\s(?:for|aria-labelledby|aria-controls)="([^"]+)"', html)
    assert set(named) <= set(ids)
